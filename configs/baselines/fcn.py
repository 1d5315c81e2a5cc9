"""FCN on a ResNet-50 of stride 8, trained and scored as PIM.

Source:     Long, Shelhamer and Darrell, CVPR 2015; He et al., CVPR 2016; composed as torchvision's fcn_resnet50
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/fcn.py
Parameters: 32,947,266
Hardware:   not trained here: no time or score to report.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, FCNConfig
from pimjax.config.load import read_config


def get_config() -> Config:
    """The recipe of configs/pim.py with another network."""
    return dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/fcn",
        model=FCNConfig(),
    )
