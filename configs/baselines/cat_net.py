"""CAT-Net.

Source:     Kwon et al., IJCV 130, 2022
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/cat_net.py
Loss:       cross-entropy, weights 0.5 and 2.5
Recipe:     SGD 0.005, momentum 0.9, decay 5e-4, polynomial; batch 22, 512²
Parameters: 114,263,810
Hardware:   not trained here: no time or score to report.

It is made to read JPEG files; here each crop counts as a picture that is none, saved at quality 100, as its authors
take PNG files. Start from its released weights: --config.train.init=CAT_full_v2.pth.tar.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import CATNetConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/cat_net",
        model=CATNetConfig(),
        optimizer=OptimizerConfig(algorithm="sgd", learning_rate=0.005, schedule="polynomial", weight_decay=5e-4),
    )
    config.data.batch_size, config.data.image_size = 22, 512
    return config
