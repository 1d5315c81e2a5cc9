"""U-Net, with its own loss and PIM's data.

Source:     Ronneberger et al., MICCAI 2015
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/unet.py
Loss:       cross-entropy at full size
Parameters: 31,037,698
Hardware:   not trained here: no time or score to report. The optimizer is Adam.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import ReleasedUNetConfig


def get_config() -> Config:
    """The data of configs/pim.py, another network and its loss."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/unet",
        model=ReleasedUNetConfig(),
    )
    return config
