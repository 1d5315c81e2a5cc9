"""PSCC-Net.

Source:     Liu et al., IEEE TCSVT 2022
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/pscc_net.py
Loss:       balanced cross-entropy of four masks, and the image's
Recipe:     Adam 2e-4, halved every fifth of the run, no decay, batch 10, 256²
Parameters: 3,667,942
Hardware:   not trained here: no time or score to report.

ImageNet start: add --config.train.init=hrnet_w18_small_model_v2.pth.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import PSCCNetConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/pscc_net",
        model=PSCCNetConfig(),
        optimizer=OptimizerConfig(learning_rate=2e-4, schedule="steps", step_length=1800, weight_decay=0.0),
    )
    config.data.batch_size, config.data.image_size = 10, 256
    return config
