"""TruFor, phase 2, with its own loss and PIM's data.

Source:     Guillaro et al., CVPR 2023
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/trufor.py
Loss:       0.3 weighed cross-entropy, 0.7 dice; its recipe: SGD 0.005, momentum 0.9, batch 18, 512²
Parameters: 68,697,421
Hardware:   not trained here: no time or score to report. The optimizer is Adam.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import TruForConfig


def get_config() -> Config:
    """The data of configs/pim.py, another network and its loss."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/trufor",
        model=TruForConfig(),
    )
    return config
