"""ViT-B/16 with a plain decoder, trained and scored as PIM.

Source:     Dosovitskiy et al., ICLR 2021; decoder of SETR-Naïve, Zheng et al., CVPR 2021
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/vit.py
Parameters: 85,994,754
Hardware:   not trained here: no time or score to report.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, ViTConfig
from pimjax.config.load import read_config


def get_config() -> Config:
    """The recipe of configs/pim.py with another network."""
    return dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/vit",
        model=ViTConfig(),
    )
