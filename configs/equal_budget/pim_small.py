"""`pim-small` on crops of 128 pixels: the first of six networks that are trained for the same time.

Command:   python train.py --config configs/equal_budget/pim_small.py; the others likewise
Score:     configs/README.md, "Six networks, the same time"
Time:      878 seconds of processor time (2026-11-27)
Data:      as configs/pim_small.py, and its optimizer for all; each network has its own loss
Prepare:   as configs/pim_small.py
"""

from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config


def get_config() -> Config:
    """Smaller crops, and as many steps as the time allows."""
    config = read_config(Path(__file__).parent.parent / "pim_small.py")
    config.workdir = "runs/equal_budget/pim_small"
    config.data.image_size, config.data.batch_size = 128, 8
    config.train.num_steps = config.train.validate_every = 1900
    return config
