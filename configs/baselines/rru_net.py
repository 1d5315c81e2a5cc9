"""RRU-Net.

Source:     Bi et al., CVPR Workshops 2019
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/rru_net.py
Loss:       binary cross-entropy
Recipe:     Adam 1e-3, no decay, batch 6, 256²
Parameters: 4,097,249
Hardware:   not trained here: no time or score to report.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import RRUNetConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/rru_net",
        model=RRUNetConfig(),
        optimizer=OptimizerConfig(learning_rate=1e-3, weight_decay=0.0),
    )
    config.data.batch_size, config.data.image_size = 6, 256
    return config
