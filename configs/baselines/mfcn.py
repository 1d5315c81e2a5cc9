"""MFCN.

Source:     Salloum et al., JVCIR 2018
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/mfcn.py
Loss:       balanced cross-entropy of the surface and of its edge
Recipe:     SGD 1e-4, momentum 0.9, L2 5e-4 on kernels, single images
Parameters: 134,282,570
Hardware:   not trained here: no time or score to report.

ImageNet start: add --config.train.init=vgg16_bn-6c64b313.pth, of torchvision.
Several devices need --config.data.batch_size=N, a multiple of their number.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import MFCNConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/mfcn",
        model=MFCNConfig(),
        optimizer=OptimizerConfig(algorithm="sgd", learning_rate=1e-4, weight_decay=5e-4, decay_kernels_only=True),
    )
    config.data.batch_size, config.data.image_size = 1, 512
    return config
