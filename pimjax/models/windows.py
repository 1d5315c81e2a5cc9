"""Window arithmetic of the Swin encoder: splitting, masks and relative positions. Constants are built with numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
    """Zero-pad [B, H, W, C] at the bottom and right to the next multiple of `multiple`."""
    B, H, W, C = x.shape
    return jnp.pad(x, ((0, 0), (0, -H % multiple), (0, -W % multiple), (0, 0)))


def split_windows(x: jax.Array, window_size: int) -> jax.Array:
    """Split [B, H, W, C], sides divisible by `window`, → [B·windows, window², C], row-major in and between windows."""
    B, H, W, C = x.shape
    x = x.reshape(B, H // window_size, window_size, W // window_size, window_size, C)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, window_size * window_size, C)


def merge_windows(x: jax.Array, window_size: int, height: int, width: int) -> jax.Array:
    """Invert `split_windows`: [B·windows, window², C] → [B, height, width, C]."""
    C = x.shape[-1]
    x = x.reshape(-1, height // window_size, width // window_size, window_size, window_size, C)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, height, width, C)


@functools.cache
def relative_position_index(window_size: int) -> np.ndarray:
    """Return (dy + window − 1)·(2·window − 1) + dx + window − 1 of query i, key j: int64 [window², window²]."""
    y, x = np.divmod(np.arange(window_size * window_size), window_size)
    dy, dx = y[:, None] - y[None], x[:, None] - x[None]
    return (dy + window_size - 1) * (2 * window_size - 1) + dx + window_size - 1


def roll_regions(height: int, width: int, window_size: int, shift: int) -> np.ndarray:
    """Return the region, before the roll, of every token of a rolled map: int8 [windows, window²].

    `height` and `width` are those of the padded map. Tokens of different regions were not neighbors.
    """

    def regions(n: int) -> np.ndarray:
        return np.where(np.arange(n) < n - window_size, 0, np.where(np.arange(n) < n - shift, 1, 2))

    region = (3 * regions(height)[:, None] + regions(width)[None]).astype(np.int8)
    region = region.reshape(height // window_size, window_size, width // window_size, window_size).transpose(0, 2, 1, 3)
    return region.reshape(-1, window_size * window_size)


def roll_mask(regions: jax.Array) -> jax.Array:
    """Return −100 between tokens of different regions, else 0: [windows, N] → float32 [windows, N, N].

    Made from the regions where it is used, it need not be stored: at 2048² it would fill 53 MB for a block.
    """
    return jnp.where(regions[:, :, None] == regions[:, None], 0.0, -100.0).astype(jnp.float32)


@functools.cache
def raster_mask(window_size: int) -> np.ndarray:
    """Return whether token i may see token j: strictly before it in raster order. bool [window², window²]."""
    return np.tri(window_size * window_size, k=-1, dtype=bool)
