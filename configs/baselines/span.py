"""SPAN, fine-tuned.

Source:     Hu et al., ECCV 2020
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/span.py
Loss:       binary cross-entropy
Recipe:     Adam 1e-4, the extractor frozen; single images, halved when validation stalls: here batch 4, 256², constant
Parameters: 4,054,254, of which 379,073 are trained
Hardware:   not trained here: no time or score to report.

Its extractor is ManTra-Net's: add --config.train.init=ManTraNet_Ptrain4.h5, or PixelAttention32.h5.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import SPANConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/span",
        model=SPANConfig(),
        optimizer=OptimizerConfig(
            trainable=("outlierTrans_new", "pixel_attention", "final"), learning_rate=1e-4, weight_decay=0.0
        ),
    )
    config.data.batch_size, config.data.image_size = 4, 256
    return config
