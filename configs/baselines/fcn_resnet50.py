"""FCN on ResNet-50.

Source:     Long et al., CVPR 2015; torchvision's composition
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/fcn_resnet50.py
Loss:       cross-entropy at full size
Recipe:     PIM's optimizer, size and batch, as all networks of its benchmark
Parameters: 32,947,266
Hardware:   not trained here: no time or score to report.

ImageNet start: add --config.train.init=resnet50-11ad3fa6.pth, of torchvision.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import FCNResNet50Config


def get_config() -> Config:
    """The data of configs/pim.py with another network and its loss."""
    return dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/fcn_resnet50",
        model=FCNResNet50Config(),
    )
