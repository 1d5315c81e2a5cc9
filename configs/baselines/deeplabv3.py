"""DeepLabv3 on a ResNet-50 of stride 8, trained and scored as PIM.

Source:     Chen et al., 2017, arXiv 1706.05587; composed as torchvision's deeplabv3_resnet50
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/deeplabv3.py
Parameters: 39,633,986
Hardware:   not trained here: no time or score to report.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, DeepLabV3Config
from pimjax.config.load import read_config


def get_config() -> Config:
    """The recipe of configs/pim.py with another network."""
    return dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/deeplabv3",
        model=DeepLabV3Config(),
    )
