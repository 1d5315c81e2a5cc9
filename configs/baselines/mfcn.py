"""MFCN, with its own loss and PIM's data.

Source:     Salloum et al., JVCIR 2018
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/mfcn.py
Loss:       balanced cross-entropy of surface and edge; its recipe: SGD, momentum 0.9, 1e-4, L2 5e-4
Parameters: 134,282,570
Hardware:   not trained here: no time or score to report. The optimizer is Adam.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import MFCNConfig


def get_config() -> Config:
    """The data of configs/pim.py, another network and its loss."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/mfcn",
        model=MFCNConfig(),
    )
    return config
