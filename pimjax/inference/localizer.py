"""From a checkpoint and a photo to the manipulated pixels."""

import functools
import hashlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.config import PRECISIONS
from pimjax.data.images import DecodedPhoto, decode_photo, read_bytes, turn_upright
from pimjax.data.transforms import STRIDE, network_input
from pimjax.inference.tiles import Maps, cut_tiles, join_tiles, tile_places
from pimjax.models.layers import Execution
from pimjax.models.networks import build_network
from pimjax.models.stems import BLOCK
from pimjax.normalization import denormalize, normalize
from pimjax.training.initial import load_model
from pimjax.training.step import predictions_of
from pimjax.weights.card import ModelCard
from pimjax.weights.fold import fold_batch_norm
from pimjax.weights.shipped import SHIPPED

MAPS = ("mask", "boundary", "reconstruction")
# Pixels. Tiles begin at multiples of GRAIN, which JPEG's blocks, tokens and attention windows divide: photos look the
# same to the network in a tile as in a crop that it was trained on.
TILE, OVERLAP, GRAIN = 512, 128, 64


class Localization(NamedTuple):
    """What the model says of one photo."""

    photo: np.ndarray  # uint8 RGB [H, W, 3], upright as all that follows
    probability: np.ndarray  # float32 [H, W] in 0..1, of manipulation
    map: np.ndarray  # float32 [h, w], the probability at the size at which the model makes it
    score: float  # of the whole photo, in 0..1: the largest value of `map`
    boundary: np.ndarray | None = None  # float32 [H, W] in 0..1, of the manipulation's edge; on request
    reconstruction: np.ndarray | None = None  # uint8 RGB [H, W, 3], the image decoder's, enlarged; on request


class Localizer:
    """A trained network as a function from a photo to a `Localization`.

    The photo is brought to the network as in training: resized to a square, or, if the model was trained on crops, in
    overlapping tiles of native pixels. Each new input size is compiled once; there are few. `precision` is that of maps
    and matrix products: "float32", or "bfloat16", faster on accelerators that have it. `batch` tiles go through the
    device together; 0: one on a CPU, which has no use for more, else eight.
    """

    def __init__(self, variables: dict[str, Any], card: ModelCard, precision: str = "float32", batch: int = 0):
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r}: it must be one of {', '.join(map(repr, PRECISIONS))}")
        self.card, self.precision = card, precision
        self.batch = batch or (1 if jax.default_backend() == "cpu" else 8)
        model = build_network(card.model, Execution(dtype=jnp.dtype(precision), folded=True))

        @functools.partial(jax.jit, static_argnames="details")
        def predict(variables: dict[str, Any], images: jax.Array, details: bool) -> tuple[jax.Array | None, ...]:
            predictions = predictions_of(model.apply(variables, images))
            # Where only the mask is asked for, XLA drops the other decoders.
            return predictions if details else predictions[:1]

        self.hash = model_hash(variables, card)
        self._variables = jax.device_put(fold_batch_norm(variables))
        self._predict = predict

    def _maps(self, tiles: Sequence[np.ndarray], details: bool) -> list[Maps]:
        """[h, w, 3] each, uint8 or normalised → maps [⌈h/4⌉, ⌈w/4⌉, …]: the mask's or, with `details`, all there are.

        Those of one size go through the device together, `batch` at a time.
        """
        found: list[Maps] = [{} for _ in tiles]
        for shape in dict.fromkeys(tile.shape for tile in tiles):
            numbers = [i for i, tile in enumerate(tiles) if tile.shape == shape]
            for start in range(0, len(numbers), self.batch):
                some = numbers[start : start + self.batch]
                images = np.zeros((self.batch, *shape), np.float32)  # always as many: another number is compiled anew
                for place, i in enumerate(some):
                    images[place] = normalize(tiles[i]) if tiles[i].dtype == np.uint8 else tiles[i]
                maps = jax.device_get(self._predict(self._variables, images, details))
                for place, i in enumerate(some):
                    found[i] = {name: m[place] for name, m in zip(MAPS, maps, strict=False) if m is not None}
        return found

    @classmethod
    def load(cls, path: str | os.PathLike = SHIPPED, precision: str = "float32", batch: int = 0) -> "Localizer":
        """The model at `path`: a run's directory (its best checkpoint), a native directory, `.safetensors` or `.pth`.

        "pim-small", the default, is the model that pimjax brings along (configs/pim_small.py).

        Raises:
            FileNotFoundError: no checkpoint is there.
            ValueError: it cannot be used as a model, or was written by another version of pimjax.
        """
        return cls(*load_model(path), precision, batch)

    def __call__(self, photo: str | os.PathLike | np.ndarray, details: bool = False) -> Localization:
        """Localizes in a file (its EXIF orientation is applied) or in a uint8 RGB array [H, W, 3].

        With `details`, boundary and reconstruction are computed too, in about twice the time.

        Raises:
            pimjax.data.images.ImageError: the file cannot be used as an image.
            ValueError: the array has another shape or dtype.
        """
        decoded = DecodedPhoto(photo) if isinstance(photo, np.ndarray) else decode_photo(read_bytes(photo), str(photo))
        return self.localize([decoded.pixels], details, [decoded.orientation])[0]

    def localize(
        self, photos: Sequence[np.ndarray], details: bool = False, orientations: Sequence[int] = ()
    ) -> list[Localization]:
        """The same for several uint8 RGB arrays [H, W, 3] of any sizes, together through the device.

        The pixels are looked at as they are stored, since JPEG's blocks and tables lie so; the results are turned by
        the photos' EXIF `orientations`, or not if there are none.
        """
        for photo in photos:
            if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
                raise ValueError(f"a photo must be uint8 [H, W, 3], not {photo.dtype} {list(photo.shape)}")
        native, size = self.card.preprocessing["fit"] == "crop", self.card.preprocessing["image_size"]
        if native:
            maps = self._native_maps([_whole_blocks(photo) for photo in photos], details)
        else:
            maps = self._maps([network_input(photo, size) for photo in photos], details)
        turns = orientations or [1] * len(photos)
        return [_localization(*parts, native) for parts in zip(photos, maps, turns, strict=True)]

    def _native_maps(self, photos: Sequence[np.ndarray], details: bool) -> list[Maps]:
        """The maps of photos [H, W, 3] in overlapping tiles: [⌈H/4⌉, ⌈W/4⌉, …]."""
        padded = [_to_whole_tiles(photo) for photo in photos]
        places = [tile_places(photo.shape, TILE, OVERLAP, GRAIN) for photo in padded]
        cut = [cut_tiles(photo, where, TILE) for photo, where in zip(padded, places, strict=True)]
        maps = iter(self._maps([tile for tiles in cut for tile in tiles], details))
        results = []
        for photo, where in zip(photos, places, strict=True):
            found = join_tiles([next(maps) for _ in where], [(y // STRIDE, x // STRIDE) for y, x in where])
            height, width = _coarse(photo.shape)
            results.append({name: map_[:height, :width] for name, map_ in found.items()})
        return results


def _coarse(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of the maps of a photo of `shape` at native resolution."""
    return -(-shape[0] // STRIDE), -(-shape[1] // STRIDE)


def _whole_blocks(photo: np.ndarray) -> np.ndarray:
    """Without the last block of JPEG where it is incomplete: whatever completes it looks foreign."""
    H, W, _ = photo.shape
    return photo[: H - H % BLOCK or H, : W - W % BLOCK or W]


def _to_whole_tiles(photo: np.ndarray) -> np.ndarray:
    """Mirrored at the bottom and right to sides that are multiples of `GRAIN`: few sizes, each of which is compiled."""
    H, W, _ = photo.shape
    return cv2.copyMakeBorder(photo, 0, -H % GRAIN, 0, -W % GRAIN, cv2.BORDER_REFLECT)


def _continued(map_: np.ndarray, height: int, width: int) -> np.ndarray:
    """With the last row and column repeated, to so many: an incomplete block is given its neighbour's value."""
    h, w = map_.shape[:2]
    if (h, w) == (height, width):
        return map_
    return cv2.copyMakeBorder(map_, 0, height - h, 0, width - w, cv2.BORDER_REPLICATE)


def _localization(photo: np.ndarray, maps: Maps, orientation: int, native: bool) -> Localization:
    """From the maps of the photo or, if `native`, of its whole blocks."""
    H, W, _ = photo.shape
    h, w, _ = (_whole_blocks(photo) if native else photo).shape
    large = {
        name: _continued(cv2.resize(map_, (w, h), interpolation=cv2.INTER_LINEAR), H, W) for name, map_ in maps.items()
    }
    mask = _continued(maps["mask"], *_coarse(photo.shape)) if native else maps["mask"]
    turned = {name: turn_upright(map_, orientation) for name, map_ in large.items()}
    return Localization(
        turn_upright(photo, orientation),
        np.clip(turned["mask"], 0, 1),
        turn_upright(mask, orientation),
        float(mask.max()),
        np.clip(turned["boundary"], 0, 1) if "boundary" in turned else None,
        denormalize(turned["reconstruction"]) if "reconstruction" in turned else None,
    )


def model_hash(variables: dict[str, Any], card: ModelCard) -> str:
    """SHA-256 over configuration, preprocessing, and the names and values of all arrays: 64 hexadecimal digits."""
    digest = hashlib.sha256(repr((card.model, sorted(card.preprocessing.items()))).encode())
    for path, array in jax.tree_util.tree_leaves_with_path(variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
