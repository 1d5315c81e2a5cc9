"""The weights that pimjax brings along."""

import os
from pathlib import Path

SHIPPED = "pim-small"  # configs/pim_small.py


def weights_path(name: str | os.PathLike) -> Path:
    """The file of the shipped model if `name` is its name, else the path `name`; a file called so is "./pim-small"."""
    return Path(__file__).with_name(f"{SHIPPED}.safetensors") if str(name) == SHIPPED else Path(name)
