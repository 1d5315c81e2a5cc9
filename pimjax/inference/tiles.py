"""A photo in overlapping tiles: bounded memory, one compiled size, and the pixels as they are."""

from collections.abc import Callable, Sequence

import numpy as np

Maps = dict[str, np.ndarray]
Places = Sequence[tuple[int, int]]  # (y, x) of the tiles' corners


def blend_tiles(
    function: Callable[[np.ndarray], Maps], image: np.ndarray, side: int, overlap: int, stride: int = 1
) -> Maps:
    """The maps of an image, made of those of tiles of side×side pixels (or the image's own sides, where shorter).

    Args:
        function: a tile [h, w, C] → maps [h/stride, w/stride, …] by name.
        image: [H, W, C], both sides multiples of `stride`.
        side: of a tile, in pixels, a multiple of `stride`.
        overlap: of neighbouring tiles, in pixels, at least.
        stride: pixels of the image to one of the maps.

    Returns:
        as `join_tiles`.
    """
    places = tile_places(image.shape, side, overlap, stride)
    maps = [function(tile) for tile in cut_tiles(image, places, side)]
    return join_tiles(maps, [(y // stride, x // stride) for y, x in places])


def tile_places(shape: Sequence[int], side: int, overlap: int, grain: int = 1) -> Places:
    """Where tiles begin that cover an image of `shape` (height, width, …), as evenly as multiples of `grain` allow.

    `side`, and the image's sides, are multiples of `grain`; `overlap` of neighbours is the least, or `grain` less.
    """
    step = max(1, (side - overlap) // grain)
    rows, columns = (_starts(n // grain, side // grain, step) for n in shape[:2])
    return [(y * grain, x * grain) for y in rows for x in columns]


def cut_tiles(image: np.ndarray, places: Places, side: int) -> list[np.ndarray]:
    """The tiles [side, side, C] (or as long as the image is, where shorter) at `places`."""
    return [np.ascontiguousarray(image[y : y + side, x : x + side]) for y, x in places]


def join_tiles(tiles: Sequence[Maps], places: Places) -> Maps:
    """The whole's maps, float32 [h, w, …] by name, from those of tiles, of one size, at `places` in their own pixels.

    Where tiles overlap, they are averaged with weights that fall to nearly 0 at a tile's edge.
    """
    if len(tiles) == 1:
        return tiles[0]
    height, width = next(iter(tiles[0].values())).shape[:2]
    weight = np.outer(_window(height), _window(width))
    shape = tuple(last + length for last, length in zip(places[-1], (height, width), strict=True))
    weights = np.zeros(shape, np.float32)
    totals: Maps = {}
    for maps, (y, x) in zip(tiles, places, strict=True):
        part = np.s_[y : y + height, x : x + width]
        weights[part] += weight
        for name, map_ in maps.items():
            total = totals.setdefault(name, np.zeros((*shape, *map_.shape[2:]), np.float32))
            total[part] += weight.reshape(*weight.shape, *[1] * (map_.ndim - 2)) * map_
    return {name: total / weights.reshape(*shape, *[1] * (total.ndim - 2)) for name, total in totals.items()}


def _starts(length: int, side: int, step: int) -> list[int]:
    """Where tiles begin: as evenly as whole steps allow, the last one ending with the photo."""
    if length <= side:
        return [0]
    many = -(-(length - side) // step) + 1
    return [round(i * (length - side) / (many - 1)) for i in range(many)]


def _window(length: int) -> np.ndarray:
    """A raised cosine that is nowhere 0, float32 [length]."""
    return (1.02 - np.cos(2 * np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)
