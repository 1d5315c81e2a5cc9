"""From a checkpoint and a photo to the manipulated pixels."""

import functools
import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.config import PRECISIONS
from pimjax.data.images import read_image
from pimjax.data.transforms import STRIDE, network_input
from pimjax.models.layers import Execution
from pimjax.models.networks import build_network
from pimjax.normalization import denormalize, normalize
from pimjax.training.initial import load_model
from pimjax.training.step import predictions_of
from pimjax.weights.card import ModelCard
from pimjax.weights.fold import fold_batch_norm


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

    The photo is brought to the network as in training: resized to a square, or at native resolution if the model was
    trained on crops. Each new input size is compiled once. `precision` is that of maps and matrix products: "float32",
    or "bfloat16", faster on accelerators that have it.
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

        self.hash = weights_hash(variables)
        self._variables = jax.device_put(fold_batch_norm(variables))
        self._predict = predict

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
        size = self.card.preprocessing["image_size"]
        image = normalize(photo) if native else network_input(photo, size)
        map_, *others = jax.device_get(self._predict(self._variables, image, details))

        def enlarge(map_: np.ndarray) -> np.ndarray:
            # At native resolution a map pixel stands for exactly 4×4 photo pixels, the last reaching past the edge.
            target = (map_.shape[1] * STRIDE, map_.shape[0] * STRIDE) if native else (W, H)
            return cv2.resize(map_, target, interpolation=cv2.INTER_LINEAR)[:H, :W]

        boundary, reconstruction = others or (None, None)
        return Localization(
            photo,
            np.clip(enlarge(map_), 0, 1),
            map_,
            float(map_.max()),
            None if boundary is None else np.clip(enlarge(boundary), 0, 1),
            None if reconstruction is None else denormalize(enlarge(reconstruction)),
        )


def weights_hash(variables: dict[str, Any]) -> str:
    """SHA-256 over the names and values of all arrays, in the order of their names: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path, array in jax.tree_util.tree_leaves_with_path(variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
