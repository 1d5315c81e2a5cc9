"""From a checkpoint and a photo to the manipulated pixels."""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.config import PRECISIONS
from pimjax.data.images import read_image
from pimjax.data.transforms import STRIDE, network_input
from pimjax.inference.tiles import Maps, blend_tiles
from pimjax.models.layers import Execution
from pimjax.models.networks import build_network
from pimjax.normalization import denormalize, normalize
from pimjax.training.initial import load_model
from pimjax.training.step import predictions_of
from pimjax.weights.card import ModelCard
from pimjax.weights.fold import fold_batch_norm

MAPS = ("mask", "boundary", "reconstruction")
TILE, OVERLAP, GRAIN = 512, 128, 64  # pixels; GRAIN: sides of what is smaller than a tile are padded to its multiples


class Localization(NamedTuple):
    """What the model says of one photo."""

    photo: np.ndarray  # uint8 RGB [H, W, 3], upright
    probability: np.ndarray  # float32 [H, W] in 0..1, of manipulation
    map: np.ndarray  # float32 [h, w], the probability at the size at which the model makes it
    score: float  # of the whole photo, in 0..1: the largest value of `map`
    boundary: np.ndarray | None = None  # float32 [H, W] in 0..1, of the manipulation's edge; on request
    reconstruction: np.ndarray | None = None  # uint8 RGB [H, W, 3], the image decoder's, enlarged; on request


class Localizer:
    """A trained network as a function from a photo to a `Localization`.

    The photo is brought to the network as in training: resized to a square, or, if the model was trained on crops, in
    overlapping tiles of native pixels. Each new input size is compiled once; there are few. `precision` is that of maps
    and matrix products: "float32", or "bfloat16", faster on accelerators that have it.
    """

    def __init__(self, variables: dict[str, Any], card: ModelCard, precision: str = "float32"):
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r}: it must be one of {', '.join(map(repr, PRECISIONS))}")
        self.card = card
        model = build_network(card.model, Execution(dtype=jnp.dtype(precision), folded=True))

        @functools.partial(jax.jit, static_argnames="details")
        def predict(variables: dict[str, Any], image: jax.Array, details: bool) -> tuple[jax.Array | None, ...]:
            predictions = predictions_of(model.apply(variables, image[None]))
            # Where only the mask is asked for, XLA drops the other decoders.
            return jax.tree.map(lambda map_: map_[0], predictions if details else predictions[:1])

        self.hash = model_hash(variables, card)
        self._variables = jax.device_put(fold_batch_norm(variables))
        self._predict = predict

    def _maps(self, image: np.ndarray, details: bool) -> Maps:
        """Normalised float32 [h, w, 3] → maps [⌈h/4⌉, ⌈w/4⌉, …]: the mask's or, with `details`, all that there are."""
        maps = jax.device_get(self._predict(self._variables, image, details))
        return {name: map_ for name, map_ in zip(MAPS, maps, strict=False) if map_ is not None}

    @classmethod
    def load(cls, path: str | os.PathLike, precision: str = "float32") -> "Localizer":
        """The model at `path`: a run's directory (its best checkpoint), a native directory, `.safetensors` or `.pth`.

        Raises:
            FileNotFoundError: no checkpoint is there.
            ValueError: it cannot be used as a model, or was written by another version of pimjax.
        """
        return cls(*load_model(path), precision)

    def __call__(self, photo: str | os.PathLike | np.ndarray, details: bool = False) -> Localization:
        """Localizes in a file (its EXIF orientation is applied) or in a uint8 RGB array [H, W, 3].

        With `details`, boundary and reconstruction are computed too, in about twice the time.

        Raises:
            pimjax.data.images.ImageError: the file cannot be used as an image.
            ValueError: the array has another shape or dtype.
        """
        if isinstance(photo, np.ndarray):
            if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
                raise ValueError(f"a photo must be uint8 [H, W, 3], not {photo.dtype} {list(photo.shape)}")
        else:
            photo = read_image(Path(photo), upright=True)
        H, W, _ = photo.shape
        native = self.card.preprocessing["fit"] == "crop"
        maps = functools.partial(self._maps, details=details)
        size = self.card.preprocessing["image_size"]
        found = _native_maps(maps, photo) if native else maps(network_input(photo, size))

        def enlarge(map_: np.ndarray) -> np.ndarray:
            # At native resolution a map pixel stands for exactly 4×4 photo pixels, the last reaching past the edge.
            target = (map_.shape[1] * STRIDE, map_.shape[0] * STRIDE) if native else (W, H)
            return cv2.resize(map_, target, interpolation=cv2.INTER_LINEAR)[:H, :W]

        large = {name: enlarge(map_) for name, map_ in found.items()}
        return Localization(
            photo,
            np.clip(large["mask"], 0, 1),
            found["mask"],
            float(found["mask"].max()),
            np.clip(large["boundary"], 0, 1) if "boundary" in large else None,
            denormalize(large["reconstruction"]) if "reconstruction" in large else None,
        )


def _native_maps(maps: Callable[[np.ndarray], Maps], photo: np.ndarray) -> Maps:
    """A photo's maps [⌈H/4⌉, ⌈W/4⌉, …] at native resolution, in tiles where it is larger than one."""
    H, W, _ = photo.shape
    # A large photo is mirrored to whole map pixels; a small one to one of few sizes, each of which is compiled.
    sides = [-(-n // grain) * grain for n in (H, W) for grain in [STRIDE if n > TILE else GRAIN]]
    padded = cv2.copyMakeBorder(photo, 0, sides[0] - H, 0, sides[1] - W, cv2.BORDER_REFLECT)
    whole = blend_tiles(lambda tile: maps(normalize(tile)), padded, TILE, OVERLAP, STRIDE)
    return {name: map_[: -(-H // STRIDE), : -(-W // STRIDE)] for name, map_ in whole.items()}


def model_hash(variables: dict[str, Any], card: ModelCard) -> str:
    """SHA-256 over configuration, preprocessing, and the names and values of all arrays: 64 hexadecimal digits."""
    digest = hashlib.sha256(repr((card.model, sorted(card.preprocessing.items()))).encode())
    for path, array in jax.tree_util.tree_leaves_with_path(variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
