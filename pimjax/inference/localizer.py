"""From a checkpoint and a photo to the manipulated pixels."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np

from pimjax.data.images import read_image
from pimjax.data.transforms import STRIDE, network_input
from pimjax.models.pim import PIM
from pimjax.normalization import normalize
from pimjax.training.initial import load_model
from pimjax.weights.card import ModelCard


class Localization(NamedTuple):
    """What the model says of one photo."""

    photo: np.ndarray  # uint8 RGB [H, W, 3], upright
    probability: np.ndarray  # float32 [H, W] in 0..1, of manipulation
    score: float  # of the whole photo, in 0..1: the largest value of the model's map


class Localizer:
    """A trained PIM as a function from a photo to a `Localization`.

    The photo is brought to the network as in training: resized to a square, or at native resolution if the model was
    trained on crops. Each new input size is compiled once.
    """

    def __init__(self, variables: dict[str, Any], card: ModelCard):
        self.card = card
        model = PIM(card.model)

        @jax.jit
        def probability(variables: dict[str, Any], image: jax.Array) -> jax.Array:
            # Only the mask is asked for, so XLA drops the other decoders.
            return jax.nn.softmax(model.apply(variables, image[None]).mask_logits[0])[..., 1]

        self._variables = jax.device_put(variables)
        self._probability = probability

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Localizer":
        """The model at `path`: a run's directory (its best checkpoint), a native directory, `.safetensors` or `.pth`.

        Raises:
            FileNotFoundError: no checkpoint is there.
            ValueError: it cannot be used as a model, or was written by another version of pimjax.
        """
        return cls(*load_model(path))

    def __call__(self, photo: str | os.PathLike | np.ndarray) -> Localization:
        """Localizes in a file (its EXIF orientation is applied) or in a uint8 RGB array [H, W, 3].

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
        map_ = np.asarray(self._probability(self._variables, image))
        # At native resolution a map pixel stands for exactly 4×4 photo pixels, the last ones reaching past the edge.
        target = (map_.shape[1] * STRIDE, map_.shape[0] * STRIDE) if native else (W, H)
        full = cv2.resize(map_, target, interpolation=cv2.INTER_LINEAR)[:H, :W]
        return Localization(photo, np.clip(full, 0, 1), float(map_.max()))
