"""RRU-Net, with its own loss and PIM's data.

Source:     Bi et al., CVPR Workshops 2019
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/rru_net.py
Loss:       binary cross-entropy; its recipe: Adam 1e-3, batch 6, 256²
Parameters: 4,097,249
Hardware:   not trained here: no time or score to report. The optimizer is Adam.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import RRUNetConfig


def get_config() -> Config:
    """The data of configs/pim.py, another network and its loss."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/rru_net",
        model=RRUNetConfig(),
    )
    config.optimizer.learning_rate = 1e-3
    config.data.batch_size, config.data.image_size = 6, 256
    return config
