"""FCN with a small trunk, trained for as long as the small PIM: configs/equal_budget/pim_small.py says more."""

from pathlib import Path

from pimjax.config import Config, LossConfig
from pimjax.config.load import read_config
from pimjax.config.networks import FCNResNet50Config


def get_config() -> Config:
    """The small PIM's crops, forgeries and optimizer, with another network and its loss."""
    config = read_config(Path(__file__).with_name("pim_small.py"))
    config.workdir = "runs/equal_budget/fcn_resnet50"
    config.model = FCNResNet50Config(embed_dim=16, depths=(1, 1, 1, 1), decoder_channels=64)
    config.loss = LossConfig()  # which is PIM's
    config.train.num_steps = config.train.validate_every = 3000
    return config
