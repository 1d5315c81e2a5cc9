"""UPerNet on a Swin-T, trained and scored as PIM.

Source:     Liu et al., ICCV 2021; Xiao et al., ECCV 2018
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/swin_upernet.py
Parameters: 58,942,140
Hardware:   not trained here: no time or score to report.

It is what remains of PIM without its local and global streams and with the mask decoder alone. A UPerNet or Swin-T
trained elsewhere may be its start: add --config.train.init=FILE, as for PIM.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import SwinConfig


def get_config() -> Config:
    """The recipe of configs/pim.py with another network."""
    return dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/swin_upernet",
        model=SwinConfig(),
    )
