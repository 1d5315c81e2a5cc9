"""FCN on ResNet-50, with its own loss and PIM's data.

Source:     Long et al., CVPR 2015; torchvision
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/fcn_resnet50.py
Loss:       cross-entropy at full size
Parameters: 32,947,266
Hardware:   not trained here: no time or score to report. The optimizer is Adam.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import FCNResNet50Config


def get_config() -> Config:
    """The data of configs/pim.py, another network and its loss."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/fcn_resnet50",
        model=FCNResNet50Config(),
    )
    return config
