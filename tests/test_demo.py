"""What the README says of the demo's model."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from pimjax import PIM
from pimjax.config.load import read_config
from pimjax.metrics.conventions import score
from pimjax.models.layers import Execution
from pimjax.training.setup import create_train_context
from pimjax.training.validation import make_predict, predict_set
from pimjax.weights.runs import load_variables

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_bfloat16_sees_what_float32_sees(tmp_path):
    """Trains the demo as the README does, compiled as usual, and predicts its validation set in both precisions."""
    usual = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "train.py", "--config", "configs/demo.py", f"--config.workdir={tmp_path}"]
    subprocess.run(command, cwd=ROOT, env=usual, check=True)
    variables, config = load_variables(tmp_path)
    assert config.model == read_config(ROOT / "configs/demo.py").model
    setup = create_train_context(config)
    masks = [
        predict_set(
            setup,
            make_predict(PIM(config.model, Execution(dtype=dtype)), setup.layout),
            variables,
            setup.examples["image"],
        ).mask
        for dtype in (jnp.float32, jnp.bfloat16)
    ]
    difference = np.abs(masks[0] - masks[1]).mean()
    f1 = [score(mask, setup.examples["mask"])["f1"] for mask in masks]
    print(f"mean absolute difference {difference:.5f}, F1 {f1[0]:.4f} and {f1[1]:.4f}")
    assert 0 < difference < 0.01
    assert abs(f1[0] - f1[1]) < 0.005
    assert f1[0] > 0.4
