"""U-Net.

Source:     Ronneberger et al., MICCAI 2015; padded, with BatchNorm
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/unet.py
Loss:       cross-entropy at full size
Recipe:     PIM's optimizer, size and batch, as all networks of its benchmark
Parameters: 31,037,698
Hardware:   not trained here: no time or score to report.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import UNetConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network and its loss."""
    return dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/unet",
        model=UNetConfig(),
    )
