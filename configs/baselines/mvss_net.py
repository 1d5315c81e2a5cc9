"""MVSS-Net.

Source:     Chen et al., ICCV 2021
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/mvss_net.py
Loss:       0.16 dice of the mask, 0.04 image score, 0.80 dice of edges
Recipe:     Adam 1e-4 to 1e-7 in drops (here three), 512²; its batch is not known: here 12
Parameters: 142,713,215
Hardware:   not trained here: no time or score to report.

ImageNet start: add --config.train.init=resnet50-11ad3fa6.pth, of torchvision.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import MVSSNetConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/mvss_net",
        model=MVSSNetConfig(),
        optimizer=OptimizerConfig(
            learning_rate=1e-4, schedule="steps", step_length=2250, step_factor=0.1, weight_decay=0.0
        ),
    )
    config.data.batch_size, config.data.image_size = 12, 512
    return config
