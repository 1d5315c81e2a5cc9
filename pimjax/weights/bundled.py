"""The weights that pimjax brings along."""

import os
from pathlib import Path

BUNDLED = "pim-small"  # configs/pim_small.py


def weights_path(name: str | os.PathLike) -> Path:
    """Return the file of the shipped model if `name` is its name, a str, else the path `name`.

    What else is called so is reached by "./pim-small", or by a Path.
    """
    return Path(__file__).with_name(f"{BUNDLED}.safetensors") if name == BUNDLED else Path(name)
