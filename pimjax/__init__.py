"""Pixel-Inconsistency Modeling (PIM) for image manipulation localization, in JAX and Flax.

from pimjax import PIM, Localizer, ModelConfig, from_torch, init_from_upernet, to_torch
"""

import importlib
from typing import Any

__version__ = "0.2.0"

_PUBLIC = {
    "PIM": "pimjax.models.pim",
    "Localizer": "pimjax.inference.localizer",
    "ModelConfig": "pimjax.config",
    "from_torch": "pimjax.weights.pretrained",
    "init_from_upernet": "pimjax.weights.pretrained",
    "to_torch": "pimjax.weights.names.pim",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    # Imported on first use: reading a configuration or a flag should not wait for jax.
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pimjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
