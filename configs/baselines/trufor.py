"""TruFor, phase 2: its encoder and its decoder of masks.

Source:     Guillaro et al., CVPR 2023
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/trufor.py
Loss:       0.3 weighed cross-entropy, 0.7 dice
Recipe:     SGD 0.005, momentum 0.9, L2 5e-4 on kernels, polynomial of power 0.9, batch 18, 512²
Parameters: 68,697,421
Hardware:   not trained here: no time or score to report.

How Noiseprint++ (phase 1) was trained is not public; its weights are: add
--config.train.init=mit_b2.pth,noiseprint++.th, or a whole trufor.pth.tar. Phase 3 is trufor_confidence.py.
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
        workdir="runs/trufor",
        model=TruForConfig(frozen=("dncnn", "decode_head_conf", "detection")),
        optimizer=OptimizerConfig(
            algorithm="sgd", learning_rate=0.005, schedule="polynomial", weight_decay=5e-4, decay_kernels_only=True
        ),
    )
    config.data.batch_size, config.data.image_size = 18, 512
    return config
