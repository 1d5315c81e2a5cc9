"""EVP.

Source:     Liu et al., CVPR 2023
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/evp.py
Loss:       binary cross-entropy
Recipe:     AdamW 5e-4, decay 0.01, cosine to 1e-6, batch 4, 256²; SegFormer-B4 stays frozen
Parameters: 64,544,402, of which 3,701,714 are trained
Hardware:   not trained here: no time or score to report.

What is frozen must come from somewhere: add --config.train.init=mit_b4.pth, of SegFormer.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import EVPConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/evp",
        model=EVPConfig(),
        optimizer=OptimizerConfig(
            algorithm="adamw",
            trainable=("backbone.prompt_generator", "decode_head"),
            learning_rate=5e-4,
            schedule="cosine",
            end_lr_factor=0.002,
            weight_decay=0.01,
        ),
    )
    config.data.batch_size, config.data.image_size = 4, 256
    return config
