"""U-Net, trained and scored as PIM.

Source:     Ronneberger, Fischer and Brox, MICCAI 2015; with zero-padded convolutions and BatchNorm
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/unet_stride4.py
Parameters: 31,037,698
Hardware:   not trained here: no time or score to report.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, UNetConfig
from pimjax.config.load import read_config


def get_config() -> Config:
    """The recipe of configs/pim.py with another network."""
    return dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/unet_stride4",
        model=UNetConfig(),
    )
