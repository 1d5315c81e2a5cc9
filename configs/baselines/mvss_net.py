"""MVSS-Net, with its own loss and PIM's data.

Source:     Chen et al., ICCV 2021
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/mvss_net.py
Loss:       0.16 dice of the mask, 0.04 image score, 0.80 dice of edges; its recipe: Adam 1e-4 to 1e-7, 512²
Parameters: 142,713,215
Hardware:   not trained here: no time or score to report. The optimizer is Adam.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import MVSSNetConfig


def get_config() -> Config:
    """The data of configs/pim.py, another network and its loss."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/mvss_net",
        model=MVSSNetConfig(),
    )
    config.optimizer.learning_rate = 1e-4
    config.optimizer.schedule = "cosine"
    return config
