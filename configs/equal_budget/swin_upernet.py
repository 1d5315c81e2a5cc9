"""UPerNet on a tiny Swin, trained for as long as the small PIM: configs/equal_budget/pim_small.py says more."""

from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import SwinConfig


def get_config() -> Config:
    """The small PIM's crops, forgeries and optimizer, with another network and its loss."""
    config = read_config(Path(__file__).with_name("pim_small.py"))
    config.workdir = "runs/equal_budget/swin_upernet"
    config.model = SwinConfig(embed_dim=32, depths=(2, 2, 2), num_heads=(2, 4, 8), window_size=8, decoder_channels=32)
    config.train.num_steps = config.train.validate_every = 2750
    return config
