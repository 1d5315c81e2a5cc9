"""The network input's normalization, shared by data, training and inference. Imports no jax."""

from typing import Any

import numpy as np

IMAGENET_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
IMAGENET_STD = np.array((0.229, 0.224, 0.225), np.float32)


def normalize(images: Any) -> Any:
    """Normalize uint8 (or float in 0..255) RGB [..., 3]: to 0..1, minus ImageNet's mean, over its deviation. float32.

    Works on numpy and on jax arrays and returns the same kind.
    """
    return (images.astype(np.float32) / 255 - IMAGENET_MEAN) / IMAGENET_STD


def denormalize(images: np.ndarray) -> np.ndarray:
    """Invert `normalize`, rounded and clipped to uint8."""
    return np.clip(np.rint((np.asarray(images) * IMAGENET_STD + IMAGENET_MEAN) * 255), 0, 255).astype(np.uint8)
