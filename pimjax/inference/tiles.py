"""A photo in overlapping tiles: bounded memory, one compiled size, and the pixels as they are."""

from collections.abc import Callable

import numpy as np

Maps = dict[str, np.ndarray]


def blend_tiles(
    function: Callable[[np.ndarray], Maps], image: np.ndarray, side: int, overlap: int, stride: int = 1
) -> Maps:
    """The maps of an image, made of those of tiles of side×side pixels (or the image's own sides, where shorter).

    Where tiles overlap, their maps are averaged with weights that fall to nearly 0 at a tile's edge.

    Args:
        function: a tile [h, w, C] → maps [h/stride, w/stride, …] by name.
        image: [H, W, C], both sides multiples of `stride`.
        side: of a tile, in pixels, a multiple of `stride`.
        overlap: of neighbouring tiles, in pixels, at least.
        stride: pixels of the image to one of the maps.

    Returns:
        by the same names, float32 [H/stride, W/stride, …].
    """
    H, W = (n // stride for n in image.shape[:2])
    step = max(1, (side - overlap) // stride)
    totals: Maps = {}
    weights = np.zeros((H, W), np.float32)
    for y in _starts(H, side // stride, step):
        for x in _starts(W, side // stride, step):
            rows, columns = (slice(start, start + side // stride) for start in (y, x))
            tile = image[y * stride : y * stride + side, x * stride : x * stride + side]
            maps = function(np.ascontiguousarray(tile))
            weight = np.outer(_window(min(side // stride, H)), _window(min(side // stride, W)))
            weights[rows, columns] += weight
            for name, map_ in maps.items():
                total = totals.setdefault(name, np.zeros((H, W, *map_.shape[2:]), np.float32))
                total[rows, columns] += weight.reshape(*weight.shape, *[1] * (map_.ndim - 2)) * map_
    return {name: total / weights.reshape(H, W, *[1] * (total.ndim - 2)) for name, total in totals.items()}


def _starts(length: int, side: int, step: int) -> list[int]:
    """Where tiles begin: as evenly as whole pixels allow, the last one ending with the photo."""
    if length <= side:
        return [0]
    many = -(-(length - side) // step) + 1
    return [round(i * (length - side) / (many - 1)) for i in range(many)]


def _window(length: int) -> np.ndarray:
    """A raised cosine that is nowhere 0, float32 [length]."""
    return (1.02 - np.cos(2 * np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)
