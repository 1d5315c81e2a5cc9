"""U-Net, at a size that a CPU trains: for a comparison at an equal budget (configs/README.md).

Source:     Ronneberger et al., MICCAI 2015
Prepare:    as configs/pim_small.py
Command:    python train.py --config configs/small/unet.py
Parameters: PARAMETERS
Hardware:   HARDWARE
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, LossConfig
from pimjax.config.load import read_config
from pimjax.config.networks import UNetConfig


def get_config() -> Config:
    """The data and the optimizer of configs/pim_small.py with another network and its loss."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim_small.py"),
        workdir="runs/small/unet",
        model=UNetConfig(embed_dim=16),
        loss=LossConfig(),  # its own, by config.compared_loss
    )
    config.data.image_size, config.data.batch_size = 128, 8
    return config
