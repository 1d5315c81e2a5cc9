"""From a checkpoint and a photo to the manipulated pixels."""

import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.aliases import PARAMETERS, inverse, renamed_tree
from pimjax.config.schema import PRECISIONS
from pimjax.data.images import decode_photo, read_bytes, turn_upright
from pimjax.data.transforms import STRIDE, network_input
from pimjax.inference.tiles import Canvas, Maps, Places, tile_places
from pimjax.jpeg.dct import BLOCK
from pimjax.models.factory import create_model
from pimjax.models.layers import Execution
from pimjax.models.pim import PIMOutput, predictions_of
from pimjax.models.preprocessing import PREPROCESSING
from pimjax.normalization import denormalize, normalize
from pimjax.visualize import strips
from pimjax.weights.bundled import BUNDLED
from pimjax.weights.card import ModelCard
from pimjax.weights.fold import fold_batch_norm
from pimjax.weights.load import load_model

MAPS = ("mask", "boundary", "reconstruction")
# Pixels. Tiles begin at multiples of GRAIN, which JPEG's blocks, tokens and attention windows divide: photos look the
# same to the network in a tile as in a crop that it was trained on.
TILE, OVERLAP, GRAIN = 512, 128, 64
# Heights and widths of tiles: each is compiled once, which takes longer than hundreds of small photos. The fewer pixels
# a photo is continued by, the better; so they are closer where photos are common.
SHAPES = ((192, 192), (320, 320), (256, 384), (384, 256), (384, 512), (448, 512), (512, 384), (TILE, TILE))


class _Plan(NamedTuple):
    """How a photo goes through the network."""

    tile: tuple[int, int]  # pixels
    whole: tuple[int, int]  # of the photo, continued to whole tiles
    places: Places


class Localization(NamedTuple):
    """What the model says of one photo."""

    photo: np.ndarray  # uint8 RGB [H, W, 3], upright as all that follows
    probability: np.ndarray  # float32 [H, W] in 0..1, of manipulation
    map: np.ndarray  # float32 [h, w], the probability at the size at which the model makes it
    score: float  # of the whole photo, in 0..1: the largest value of `map`; NaN if any map has one, or infinity
    boundary: np.ndarray | None = None  # float32 [H, W] in 0..1, of the manipulation's edge; on request
    reconstruction: np.ndarray | None = None  # uint8 RGB [H, W, 3], the image decoder's, enlarged; on request


class Localizer:
    """A trained network as a function from a photo to a `Localization`.

    The photo is brought to the network as in training: resized to a square, or, if the model was trained on crops, in
    overlapping tiles of native pixels. Each of `SHAPES` is compiled when it first occurs. `precision` is that of maps
    and matrix products: "float32", or "bfloat16", faster on accelerators that have it. `batch` tiles of one shape go
    through the device together; 0: one on a CPU, which has no use for more, else eight.
    """

    reads_files = False  # whether `localize` takes `files`, the photos as they were encoded, and needs them

    def __init__(self, variables: dict[str, Any], card: ModelCard, precision: str = "float32", batch: int = 0):
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r}: it must be one of {', '.join(map(repr, PRECISIONS))}")
        self.card, self.precision = card, precision
        self.batch = batch or (1 if jax.default_backend() == "cpu" else 8)
        model = create_model(card.model, Execution(dtype=jnp.dtype(precision), folded=True))

        @functools.partial(jax.jit, static_argnames="details")
        def predict(variables: dict[str, Any], images: jax.Array, details: bool) -> tuple[jax.Array | None, ...]:
            predictions = predictions_of(cast(PIMOutput, model.apply(variables, images)))
            # Where only the mask is asked for, XLA drops the other decoders.
            return predictions if details else predictions[:1]

        self._native = card.preprocessing["resize_mode"] == "crop"
        self.hash = model_hash(variables, card)
        self._variables = jax.device_put(fold_batch_norm(variables))
        self._predict = predict

    @property
    def shapes(self) -> Sequence[tuple[int, int]]:
        """Return heights and widths of what goes through the network; each is compiled when it first occurs."""
        return SHAPES if self._native else ((self.card.preprocessing["image_size"],) * 2,)

    def shape_of(self, photo: np.ndarray) -> tuple[int, int]:
        """Return which of `shapes` a photo's tiles have."""
        return self._plan(_whole_blocks(photo) if self._native else photo).tile

    def _maps(
        self, photos: Sequence[np.ndarray], details: bool, progress: Callable[[int, int], None] | None = None
    ) -> list[Maps]:
        """Compute the mask's map or, with `details`, all maps, [h, w, …] by name, of each uint8 [H, W, 3].

        Tiles are cut when their turn comes, and only their maps are kept: a quarter of the photo's sides.
        """
        plans = [self._plan(photo) for photo in photos]
        canvases = [Canvas(*(-(-n // STRIDE) for n in plan.whole)) for plan in plans]
        done, total = 0, sum(len(plan.places) for plan in plans)
        for shape in dict.fromkeys(plan.tile for plan in plans):
            tiles = ((i, *yx) for i, plan in enumerate(plans) if plan.tile == shape for yx in plan.places)
            while some := list(itertools.islice(tiles, self.batch)):
                images = np.zeros((self.batch, *shape, 3), np.float32)  # always as many: another number is compiled
                for number, (i, y, x) in enumerate(some):
                    images[number] = self._input(photos[i], y, x, shape)
                found = jax.device_get(self._predict(self._variables, images, details))
                named = {name: maps for name, maps in zip(MAPS, found, strict=False) if maps is not None}
                for number, (i, y, x) in enumerate(some):
                    tile = {name: maps[number] for name, maps in named.items()}
                    canvases[i].add(tile, y // STRIDE, x // STRIDE)
                done += len(some)
                if progress:
                    progress(done, total)
        return [canvas.maps() for canvas in canvases]

    def _plan(self, photo: np.ndarray) -> _Plan:
        if not self._native:
            square = (self.card.preprocessing["image_size"],) * 2
            return _Plan(square, square, [(0, 0)])
        tile = _tile_shape(photo.shape)
        H, W = (n + -n % GRAIN if n > side else side for n, side in zip(photo.shape, tile, strict=False))
        return _Plan(tile, (H, W), tile_places((H, W), TILE, OVERLAP, GRAIN))

    def _input(self, photo: np.ndarray, y: int, x: int, shape: tuple[int, int]) -> np.ndarray:
        """Return the photo's tile at (y, x), float32 [*shape, 3], continued by mirroring where the photo ends."""
        if not self._native:
            return network_input(photo, shape[0])
        tile = photo[y : y + shape[0], x : x + shape[1]]
        missing = (0, shape[0] - tile.shape[0], 0, shape[1] - tile.shape[1])
        return normalize(cv2.copyMakeBorder(tile, *missing, cv2.BORDER_REFLECT))

    @classmethod
    def load(cls, path: str | os.PathLike = BUNDLED, precision: str = "float32", batch: int = 0) -> "Localizer":
        """Load the model at `path`: a run's directory (its best checkpoint), a native one, `.safetensors` or `.pth`.

        "pim-small", the default, is the model that pimjax brings along (configs/pim_small.py).

        Raises:
            FileNotFoundError: no checkpoint is there.
            ValueError: it cannot be used as a model, or was written by another version of pimjax.
        """
        variables, card = load_model(path)
        if card.model.architecture in PREPROCESSING:
            from pimjax.inference.compared import ComparedLocalizer  # it is a Localizer, too

            cls = ComparedLocalizer
        return cls(variables, card, precision, batch)

    def __call__(self, photo: str | os.PathLike | np.ndarray, details: bool = False) -> Localization:
        """Localize manipulation in a file (its EXIF orientation is applied) or in a uint8 RGB array [H, W, 3].

        With `details`, boundary and reconstruction are computed too, in about twice the time.

        Raises:
            pimjax.data.images.ImageError: the file cannot be used as an image.
            ValueError: the array has another shape or dtype.
        """
        if isinstance(photo, np.ndarray):
            return self.localize([photo], details)[0]
        file = read_bytes(photo)
        decoded = decode_photo(file, str(photo))
        further: dict[str, Any] = {"files": [file]} if self.reads_files else {}
        return self.localize([decoded.pixels], details, [decoded.orientation], **further)[0]

    def localize(
        self,
        photos: Sequence[np.ndarray],
        details: bool = False,
        orientations: Sequence[int] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Localization]:
        """Localize manipulation in several uint8 RGB arrays [H, W, 3] of any sizes, together through the device.

        The pixels are looked at as they are stored, since JPEG's blocks and tables lie so; the results are turned by
        the photos' EXIF `orientations`, or not if there are none. `progress` is told how many of how many tiles are
        done; what it raises ends the work.
        """
        for photo in photos:
            require_photo(photo)
        looked_at = [_whole_blocks(photo) for photo in photos] if self._native else photos
        turns = orientations or [1] * len(photos)
        parts = zip(photos, self._maps(looked_at, details, progress), turns, strict=True)
        return [_localization(*part, self._native) for part in parts]


def require_photo(photo: np.ndarray) -> None:
    """Raise ValueError for an array that is no photograph."""
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(f"a photo must be uint8 [H, W, 3], not {photo.dtype} {list(photo.shape)}")


def _tile_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return the smallest of `SHAPES` that holds a photo of `shape` (height, width, …), or as much as a tile does."""
    H, W = (min(n, TILE) for n in shape[:2])
    return min((tile for tile in SHAPES if tile[0] >= H and tile[1] >= W), key=lambda tile: tile[0] * tile[1])


def _whole_blocks(photo: np.ndarray) -> np.ndarray:
    """Cut the last block of JPEG off where it is incomplete: whatever completes it looks foreign."""
    H, W, _ = photo.shape
    return photo[: H - H % BLOCK or H, : W - W % BLOCK or W]


def _continued(map_: np.ndarray, height: int, width: int) -> np.ndarray:
    """Repeat the last row and column, to so many: an incomplete block is given its neighbor's value."""
    h, w = map_.shape[:2]
    if (h, w) == (height, width):
        return map_
    return cv2.copyMakeBorder(map_, 0, height - h, 0, width - w, cv2.BORDER_REPLICATE)


def _localization(photo: np.ndarray, maps: Maps, orientation: int, native: bool) -> Localization:
    """Make a result from the maps of the photo or, if `native`, of its whole blocks."""
    H, W, _ = photo.shape
    h, w, _ = (_whole_blocks(photo) if native else photo).shape
    finite = all(np.isfinite(map_).all() for map_ in maps.values())
    if native:  # without what reaches past the photo
        maps = {name: map_[: -(-h // STRIDE), : -(-w // STRIDE)] for name, map_ in maps.items()}
        mask = _continued(maps["mask"], -(-H // STRIDE), -(-W // STRIDE))
    else:
        mask = maps["mask"]

    def large(name: str) -> np.ndarray:
        map_ = cv2.resize(maps[name], (w, h), interpolation=cv2.INTER_LINEAR)
        return turn_upright(_continued(map_, H, W), orientation)

    return Localization(
        turn_upright(photo, orientation),
        _clipped(large("mask")),
        turn_upright(mask, orientation),
        float(mask.max()) if finite else float("nan"),
        _clipped(large("boundary")) if "boundary" in maps else None,
        _picture(large("reconstruction")) if "reconstruction" in maps else None,
    )


def _clipped(map_: np.ndarray) -> np.ndarray:
    return np.clip(map_, 0, 1, out=map_)


def _picture(normalized: np.ndarray) -> np.ndarray:
    picture = np.empty(normalized.shape, np.uint8)
    for rows in strips(len(picture)):
        picture[rows] = denormalize(normalized[rows])
    return picture


def model_hash(variables: dict[str, Any], card: ModelCard) -> str:
    """Return SHA-256 over configuration, preprocessing, and the names and values of all arrays: 64
    hexadecimal digits.
    """
    digest = hashlib.sha256(card.identity().encode())
    # Under the names of pimjax 0.1, so that a model's hash stays what it was.
    for path, array in jax.tree_util.tree_leaves_with_path(renamed_tree(variables, inverse(PARAMETERS))):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
