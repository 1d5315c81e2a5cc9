"""ManTra-Net and SPAN on photographs of any size in bounded memory: their maps at full size, tile by tile.

The 256 trace channels of a megapixel are a gigabyte. Here only the 64 or 32 combinations that the head reads are kept
for the whole photo; extractor and head see tiles with as much around them as one pixel depends on, so that the result
is that of the whole photo, to rounding: in float32 within 1e-5, in float64 exactly. Measured from 40×1100 to 900×533
pixels (2026-11-27): 6.6e-7 for ManTra-Net at three sizes, none for SPAN at five. ManTra-Net's mean and deviation over
the whole photo are summed in float64.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models import mantra_net
from pimjax.models.mantra_net import ManTraNet
from pimjax.models.span import REACH, SIDE, SPAN, resize_corner

TILE = 512  # pixels a side that a tile decides, inside what it sees
TRACES_TILE = 384  # at most so many where the extractor's maps, of 256 channels each, are held
ALIGN = 2  # pixels a side of what `pimjax.models.winograd` computes together
BNORM_EPS = 1e-3


class TracesByTiles:
    """Localize by ManTra-Net or SPAN: `(variables, images [1, H, W, 3])` → probability [1, h, w], as they do by
    themselves.
    """

    def __init__(self, model: nn.Module, tile: int = TILE):
        assert isinstance(model, ManTraNet | SPAN)
        self.model, self.tile = model, tile
        apply: Any = model.apply
        self._adapt = jax.jit(lambda variables, images: apply(variables, images, method="adapted"))
        self._mantra = jax.jit(
            lambda variables, x, mean, deviation: apply(variables, x, mean, deviation, method="localize").probability
        )
        self._span = jax.jit(lambda variables, x: apply(variables, x, method="localize").probability)

    def __call__(self, variables: Any, images: np.ndarray) -> np.ndarray:
        """Return the probability of manipulation, float32."""
        adapted = by_tiles(lambda x: self._adapt(variables, x), images, mantra_net.REACH, min(self.tile, TRACES_TILE))
        if isinstance(self.model, SPAN):
            if self.model.resize224:
                adapted = np.asarray(resize_corner(jnp.asarray(adapted), SIDE))
            return by_tiles(lambda x: self._span(variables, x)[..., None], adapted, REACH, self.tile)[..., 0]
        mean, deviation = statistics(adapted)
        center, spread = mean, deviation**2
        if not self.model.port:
            known = variables["batch_stats"]["bnorm"]
            center, spread = np.float64(known["moving_mean"]), np.float64(known["moving_variance"])
        scale = np.sqrt(spread + BNORM_EPS)
        center32, scale32 = np.float32(center), np.float32(scale)
        of_all = [
            np.asarray(value, np.float32)[None, None, None] for value in ((mean - center) / scale, deviation / scale)
        ]

        def localize(x: np.ndarray) -> jax.Array:
            return self._mantra(variables, (x - center32) / scale32, *of_all)[..., None]

        return by_tiles(localize, adapted, self.model.reach, self.tile)[..., 0]


def by_tiles(f: Callable[[np.ndarray], Any], x: np.ndarray, reach: int, tile: int) -> np.ndarray:
    """Apply f, each of whose values depends on `reach` pixels around it, to [1, H, W, C] in tiles of one size.

    Tiles at the border end there, as the photo does: what f does beyond a border, it does there alone.
    """
    H, W = x.shape[1:3]
    out = np.empty(0)
    for top, height, rows in _pieces(H, reach, tile):
        for left, width, columns in _pieces(W, reach, tile):
            part = np.asarray(f(x[:, top : top + height, left : left + width]))
            if not out.size:
                out = np.empty((1, H, W, part.shape[-1]), part.dtype)
            inner = part[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            out[:, rows, columns] = inner
    return out


def _pieces(n: int, reach: int, tile: int) -> list[tuple[int, int, slice]]:
    """Return where pieces of one length begin, their length, and which places each decides: together all of n.

    They begin at multiples of `ALIGN`, to be rounded off in the same blocks as the whole.
    """
    length = min(n, max(tile, ALIGN) + 2 * reach)
    length += (n - length) % ALIGN
    step = max((length - 2 * reach) // ALIGN * ALIGN, ALIGN)
    starts = [min(first, n - length) for first in range(0, max(n - 2 * reach, 1), step)]
    pieces = []
    for start in dict.fromkeys(starts):
        low = start + reach if start else 0
        high = start + length - reach if start + length < n else n
        pieces.append((start, length, slice(low, high)))
    return pieces


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and population deviation of the channels of [1, H, W, C], float64 [C], summed row by row."""
    n = x.shape[1] * x.shape[2]
    mean = sum((np.float64(row).sum(0) for row in x[0]), np.zeros(x.shape[-1])) / n
    square = sum((np.square(np.float64(row) - mean).sum(0) for row in x[0]), np.zeros(x.shape[-1])) / n
    return mean, np.sqrt(square)
