"""UPerNet on Swin, at a size that a CPU trains: for a comparison at an equal budget (configs/README.md).

Source:     Liu et al., ICCV 2021; Xiao et al., ECCV 2018
Prepare:    as configs/pim_small.py
Command:    python train.py --config configs/small/swin.py
Parameters: PARAMETERS
Hardware:   HARDWARE
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import SwinConfig


def get_config() -> Config:
    """The data and the optimizer of configs/pim_small.py with another network."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim_small.py"),
        workdir="runs/small/swin",
        model=SwinConfig(
            embed_dim=32,
            depths=(2, 2, 2),
            num_heads=(2, 4, 8),
            window_size=8,
            mlp_ratio=2,
            drop_path_rate=0.0,
            decoder_channels=32,
            dropout_rate=0.0,
        ),
    )
    config.data.image_size, config.data.batch_size = 128, 8
    return config
