"""HP-FCN.

Source:     Li and Huang, ICCV 2019
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/hp_fcn.py
Loss:       focal, and 1e-5 half the squared norm of the convolutions
Recipe:     Adam 1e-4, halved every tenth of the run; its batch of one is 4 here
Parameters: 7,701,077
Hardware:   not trained here: no time or score to report.

The release knows two other losses: --config.compared_loss.pixel=cross_entropy, or balanced. It is made for
inpainting: --config.pida.kinds.removal=1 gives more of it.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import HPFCNConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/hp_fcn",
        model=HPFCNConfig(),
        optimizer=OptimizerConfig(learning_rate=1e-4, schedule="steps", step_length=900, weight_decay=0.0),
    )
    config.data.batch_size, config.data.image_size = 4, 256
    return config
