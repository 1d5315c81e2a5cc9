"""A photo in overlapping tiles: bounded memory, one compiled size, and the pixels as they are."""

from collections.abc import Callable, Sequence

import numpy as np

Maps = dict[str, np.ndarray]
Places = Sequence[tuple[int, int]]  # (y, x) of the tiles' corners


def blend_tiles(
    function: Callable[[np.ndarray], Maps], image: np.ndarray, side: int, overlap: int, stride: int = 1
) -> Maps:
    """Blend the maps of tiles of side×side pixels (or the image's own sides, where shorter) into those of the image.

    Args:
        function: a tile [h, w, C] → maps [h/stride, w/stride, …] by name.
        image: [H, W, C], both sides multiples of `stride`.
        side: of a tile, in pixels, a multiple of `stride`.
        overlap: of neighboring tiles, in pixels, at least.
        stride: pixels of the image to one of the maps.

    Returns:
        as `Canvas.maps`.
    """
    canvas = Canvas(*(n // stride for n in image.shape[:2]))
    for y, x in tile_places(image.shape, side, overlap, stride):
        canvas.add(function(np.ascontiguousarray(image[y : y + side, x : x + side])), y // stride, x // stride)
    return canvas.maps()


def tile_places(shape: Sequence[int], side: int, overlap: int, grain: int = 1) -> Places:
    """Return where tiles begin that cover an image of `shape` (height, width, …), as evenly as multiples of `grain`
    allow.

    `side`, and the image's sides, are multiples of `grain`; `overlap` of neighbors is the least, or `grain` less.
    """
    step = max(1, (side - overlap) // grain)
    rows, columns = (_starts(n // grain, side // grain, step) for n in shape[:2])
    return [(y * grain, x * grain) for y in rows for x in columns]


class Canvas:
    """A photo's maps, [height, width, …] by name, put together from those of tiles, one tile after the other.

    Where tiles overlap, they are averaged with weights that fall to nearly 0 at a tile's edge.
    """

    def __init__(self, height: int, width: int):
        self._shape = height, width
        self._totals: Maps = {}
        self._weights: np.ndarray | None = None  # None: nothing overlaps yet

    def add(self, maps: Maps, y: int, x: int) -> None:
        """Put in the maps of a tile whose corner is at (y, x) of the canvas."""
        height, width = next(iter(maps.values())).shape[:2]
        if (height, width) == self._shape:
            self._totals = maps
            return
        if self._weights is None:
            self._weights = np.zeros(self._shape, np.float32)
        part, weight = np.s_[y : y + height, x : x + width], np.outer(_window(height), _window(width))
        self._weights[part] += weight
        for name, map_ in maps.items():
            total = self._totals.setdefault(name, np.zeros((*self._shape, *map_.shape[2:]), np.float32))
            total[part] += _as(weight, map_) * map_

    def maps(self) -> Maps:
        """Return the maps, float32; the canvas is used up."""
        if self._weights is not None:
            for total in self._totals.values():
                total /= _as(self._weights, total)
        return self._totals


def _as(weights: np.ndarray, map_: np.ndarray) -> np.ndarray:
    """Give weights [h, w] as many axes as `map_` has."""
    return weights.reshape(*weights.shape, *[1] * (map_.ndim - 2))


def _starts(length: int, side: int, step: int) -> list[int]:
    """Return where tiles begin: as evenly as whole steps allow, the last one ending with the photo."""
    if length <= side:
        return [0]
    many = -(-(length - side) // step) + 1
    return [round(i * (length - side) / (many - 1)) for i in range(many)]


def _window(length: int) -> np.ndarray:
    """Return a raised cosine that is nowhere 0, float32 [length]."""
    return (1.02 - np.cos(2 * np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)
