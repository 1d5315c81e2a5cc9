"""EVP, with its own loss and PIM's data.

Source:     Liu et al., CVPR 2023
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/evp.py
Loss:       binary cross-entropy; its recipe: AdamW 5e-4, cosine, batch 4, 256²
Parameters: 64,544,402, all trained here (its authors freeze SegFormer-B4)
Hardware:   not trained here: no time or score to report. The optimizer is Adam.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import EVPConfig


def get_config() -> Config:
    """The data of configs/pim.py, another network and its loss."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/evp",
        model=EVPConfig(),
    )
    config.optimizer.learning_rate = 5e-4
    config.optimizer.schedule = "cosine"
    config.data.batch_size, config.data.image_size = 4, 256
    return config
