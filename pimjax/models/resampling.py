"""H-LSTM's resampling features (Bappy et al., TIP 2019): Radon projections of a Laplacian, and their spectra.

Each works on NumPy arrays as they are and, given `jax.numpy` arrays, on the device.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PATCH, PADDED, ANGLES = 32, 46, 10
BINS = PADDED // 2 + 1  # of the spectrum


@functools.cache
def radon_matrix() -> np.ndarray:
    """Return the Radon transform of a patch at 0°, 18°, … 162°, float64 [460, 1024] (angle and x, pixel)."""
    first, center = (PADDED - PATCH) // 2, PADDED // 2
    y, x = np.mgrid[:PADDED, :PADDED].astype(np.float64) - center
    matrix = np.zeros((ANGLES, PADDED, PATCH, PATCH))
    columns = np.broadcast_to(np.arange(PADDED), (PADDED, PADDED))
    for angle in range(ANGLES):
        cos, sin = np.cos(np.deg2rad(18 * angle)), np.sin(np.deg2rad(18 * angle))
        row, column = -sin * x + cos * y + center, cos * x + sin * y + center
        for dy in (0, 1):
            for dx in (0, 1):
                i, j = np.floor(row).astype(int) + dy, np.floor(column).astype(int) + dx
                share = (1 - np.abs(row - i)) * (1 - np.abs(column - j))
                inside = (i >= first) & (i < first + PATCH) & (j >= first) & (j < first + PATCH)
                place = (columns[inside], i[inside] - first, j[inside] - first)
                np.add.at(matrix[angle], place, share[inside])
    return matrix.reshape(ANGLES * PADDED, PATCH * PATCH)


@functools.cache
def fourier_matrix() -> np.ndarray:
    """Return the real Fourier transform of 46 values as cosines and sines, float64 [46, 2·24]."""
    phase = 2 * np.pi * np.outer(np.arange(PADDED), np.arange(BINS)) / PADDED
    return np.concatenate([np.cos(phase), -np.sin(phase)], 1)


def laplacian(image: Any) -> Any:
    """Return the patches' root of the absolute Laplacian, the colors' mean: [H, W, 3] → [patches, 32, 32].

    Sides are multiples of 32; borders are each patch's own, mirrored with the border pixel repeated.
    """
    xp: Any = jnp if isinstance(image, jax.Array) else np
    H, W, C = image.shape
    patches = image.reshape(H // PATCH, PATCH, W // PATCH, PATCH, C).transpose(0, 2, 1, 3, 4)
    patches = patches.reshape(-1, PATCH, PATCH, C)
    p = xp.pad(patches, ((0, 0), (1, 1), (1, 1), (0, 0)), "symmetric")
    second = p[:, :-2, 1:-1] + p[:, 2:, 1:-1] + p[:, 1:-1, :-2] + p[:, 1:-1, 2:] - 4 * patches
    return xp.sqrt(xp.abs(second)).mean(-1)


def sinogram(patches: Any) -> Any:
    """Return the Radon projections of [patches, 32, 32]: [patches, 10, 46]."""
    xp: Any = jnp if isinstance(patches, jax.Array) else np
    flat = patches.reshape(-1, PATCH * PATCH)
    return (flat @ xp.asarray(radon_matrix(), patches.dtype).T).reshape(-1, ANGLES, PADDED)


def resampling_features(image: Any) -> Any:
    """Return an image's resampling features [64, 240], patch by patch in rows, angle by angle.

    Args:
        image: [256, 256, 3] of integer values, before any scaling: NumPy of any dtype, computed in float64; or a JAX
            array, computed in its own float dtype.
    """
    if not isinstance(image, jax.Array):
        image = np.asarray(image, np.float64)
    xp: Any = jnp if isinstance(image, jax.Array) else np
    parts = sinogram(laplacian(image)) @ xp.asarray(fourier_matrix(), image.dtype)
    size = xp.sqrt(parts[..., :BINS] ** 2 + parts[..., BINS:] ** 2)
    return (size / (size.mean(1, keepdims=True) + 1e-16) - 1).reshape(len(size), ANGLES * BINS)
