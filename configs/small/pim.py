"""PIM, at a size that a CPU trains: for a comparison at an equal budget (configs/README.md).

Source:     the paper, section III
Prepare:    as configs/pim_small.py
Command:    python train.py --config configs/small/pim.py
Parameters: PARAMETERS
Hardware:   HARDWARE
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config


def get_config() -> Config:
    """The data and the optimizer of configs/pim_small.py on smaller crops."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim_small.py"),
        workdir="runs/small/pim",
    )
    config.data.image_size, config.data.batch_size = 128, 8
    return config
