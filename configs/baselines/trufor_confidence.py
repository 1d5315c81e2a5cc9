"""TruFor, phase 3: its confidence map and image score.

Source:     Guillaro et al., CVPR 2023
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/trufor_confidence.py
Loss:       squared error of the confidence, 0.5 cross-entropy of the image's score
Recipe:     phase 2's, the rest frozen and in inference mode
Parameters: 68,697,421
Hardware:   not trained here: no time or score to report.

It starts from what phase 2 ended with: add --config.train.init=runs/trufor
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import TruForConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/trufor_confidence",
        model=TruForConfig(frozen=("dncnn", "backbone", "decode_head")),
        optimizer=OptimizerConfig(
            algorithm="sgd", learning_rate=0.005, schedule="polynomial", weight_decay=5e-4, decay_kernels_only=True
        ),
    )
    config.data.batch_size, config.data.image_size = 18, 512
    return config
