"""HP-FCN, half as wide, trained for as long as the small PIM: configs/equal_budget/pim_small.py says more."""

from pathlib import Path

from pimjax.config import Config, LossConfig
from pimjax.config.load import read_config
from pimjax.config.networks import HPFCNConfig


def get_config() -> Config:
    """The small PIM's crops, forgeries and optimizer, with another network and its loss."""
    config = read_config(Path(__file__).with_name("pim_small.py"))
    config.workdir = "runs/equal_budget/hp_fcn"
    config.model = HPFCNConfig(embed_dim=16)
    config.loss = LossConfig()  # which is PIM's
    config.train.num_steps = config.train.validate_every = 400
    return config
