"""PSCC-Net, with its own loss and PIM's data.

Source:     Liu et al., IEEE TCSVT 2022
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/pscc_net.py
Loss:       balanced cross-entropy of four masks, and the image's; its recipe: Adam 2e-4, halved every 5 epochs
Parameters: 3,667,942
Hardware:   not trained here: no time or score to report. The optimizer is Adam.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import PSCCNetConfig


def get_config() -> Config:
    """The data of configs/pim.py, another network and its loss."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/pscc_net",
        model=PSCCNetConfig(),
    )
    config.optimizer.learning_rate = 2e-4
    config.data.batch_size, config.data.image_size = 10, 256
    return config
