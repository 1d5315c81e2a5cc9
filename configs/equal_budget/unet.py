"""U-Net, a quarter as wide, trained for as long as the small PIM: configs/equal_budget/pim_small.py says more."""

from pathlib import Path

from pimjax.config import Config, LossConfig
from pimjax.config.load import read_config
from pimjax.config.networks import UNetConfig


def get_config() -> Config:
    """The small PIM's crops, forgeries and optimizer, with another network and its loss."""
    config = read_config(Path(__file__).with_name("pim_small.py"))
    config.workdir = "runs/equal_budget/unet"
    config.model = UNetConfig(embed_dim=16)
    config.loss = LossConfig()  # which is PIM's
    config.train.num_steps = config.train.validate_every = 900
    return config
