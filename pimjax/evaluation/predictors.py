"""Whoever takes part in a benchmark, and what a map of theirs is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pimjax.data.images import ImageError
from pimjax.data.sources import Example
from pimjax.inference.localizer import Localizer
from pimjax.inference.tta import Model


class Prediction(NamedTuple):
    """A map at the size at which the model makes it and, where stretching it would misplace it, at the image's."""

    map: np.ndarray  # float32 [h, w] in 0..1
    full: np.ndarray | None = None  # float32 [H, W]; None: `map`, enlarged bilinearly


class Predictor(NamedTuple):
    """A name for the tables, a function of an example, and what makes its numbers its own, for resuming and reports.

    The example has "orientation" (EXIF, of the photo) and "mask_id" besides.
    """

    name: str
    predict: Callable[[Example], Prediction]
    about: dict[str, Any]
    version: Callable[[str], str] = lambda id_: ""  # of what an example's map comes from, by the example's id
    input_side: int | None = None  # of the square that the network makes of every image, in pixels
    localizer: Localizer | None = None  # of a checkpoint


def model_predictor(
    name: str, model: Model, about: dict[str, Any] | None = None, input_side: int | None = None
) -> Predictor:
    """Make a predictor of any function from an image to a map of probabilities, of whatever size in its proportions."""

    def predict(example: Example) -> Prediction:
        return Prediction(checked_map(model(example["image"]), name))

    return Predictor(name, predict, about or {}, input_side=input_side)


def checked_map(values: Any, name: str) -> np.ndarray:
    """Return `values` as float32 [h, w]; ImageError, naming `name`, if they are no map of probabilities."""
    values = np.asarray(values)
    squeezed = values
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        squeezed = values[..., 0] if values.shape[2] == 1 else values[0]
    if squeezed.ndim != 2 or not squeezed.size or values.dtype.kind not in "fb":
        raise ImageError(
            f"{name}: gives {values.dtype} {list(values.shape)}; a map is [h, w], of floats in 0..1, or 8 or 16 bits"
        )
    low, high = float(squeezed.min()), float(squeezed.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # false for NaN, too
        raise ImageError(f"{name}: gives values from {low:.4g} to {high:.4g}; a map is of probabilities, 0..1")
    return np.clip(squeezed.astype(np.float32), 0, 1)
