"""Which values of a mask mark manipulated pixels: integers as stored, [H, W] or RGB [H, W, 3], to bool [H, W]."""

import inspect
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from pimjax.data.images import ImageError


def in_words(marks: Callable[[np.ndarray], np.ndarray]) -> str:
    """Return which values a function here marks, from its docstring."""
    text = (inspect.getdoc(marks) or "").removeprefix("Mark ")
    return text[0].upper() + text[1:]


def nonzero(values: np.ndarray) -> np.ndarray:
    """Mark any value above 0, in any channel."""
    return np.asarray(values > 0 if values.ndim == 2 else (values > 0).any(-1))


def white(values: np.ndarray) -> np.ndarray:
    """Mark values above 120, in every channel."""
    values = eight_bits(values)
    return (values if values.ndim == 2 else values.min(-1)) > 120


def black(values: np.ndarray) -> np.ndarray:
    """Mark values below 180, in every channel."""
    values = eight_bits(values)
    return (values if values.ndim == 2 else values.max(-1)) < 180


def green(values: np.ndarray) -> np.ndarray:
    """Mark values above 120 in the green channel, whatever the others; ImageError if there is no color."""
    if values.ndim == 2:
        raise ImageError("has one channel, but the dataset marks in green; use the mask as it is distributed")
    return eight_bits(values)[..., 1] > 120


def white_not_gray(values: np.ndarray) -> np.ndarray:
    """Mark white, of the three levels black, gray and white; a value is taken for the nearest level."""
    return _brightness(values) >= 192


def white_or_gray(values: np.ndarray) -> np.ndarray:
    """Mark white or gray, of the three levels black, gray and white; a value is taken for the nearest level."""
    return _brightness(values) >= 64


class Minority(NamedTuple):
    """A polarity inferred from the masks of a dataset: manipulated is the side of the threshold with fewer pixels."""

    threshold: float  # midway between the smallest and the largest value found
    above: bool  # whether it is the pixels above it that are marked
    share: float  # of pixels marked, mean over the masks, 0..1
    masks: int  # how many were read

    def marks(self, values: np.ndarray) -> np.ndarray:
        """Return the manipulated pixels of one mask."""
        return (_brightness(values) > self.threshold) == self.above

    def __str__(self) -> str:
        side = "above" if self.above else "below"
        return (
            f"unverified: values {side} {self.threshold:g} are taken for manipulated, as the smaller area "
            f"({self.share:.1%} of the pixels of {self.masks} masks)"
        )


def minority(masks: Iterable[np.ndarray]) -> Minority:
    """Infer the polarity of a dataset from (a sample of) its masks, each of equal weight.

    Raises:
        ValueError: no mask, or one value only in all of them.
    """
    planes = (_brightness(mask) for mask in masks)
    levels = [np.bincount(plane.ravel(), minlength=256) / plane.size for plane in planes]
    histogram = np.mean(levels, axis=0) if levels else np.zeros(256)
    found = np.flatnonzero(histogram)
    if len(found) < 2:
        raise ValueError(
            f"the {len(levels)} masks read hold fewer than two values, so nothing tells manipulated pixels; "
            "check that they are the masks"
        )
    threshold = (found[0] + found[-1]) / 2
    share = histogram[np.arange(256) > threshold].sum()
    return Minority(float(threshold), bool(share < 0.5), float(min(share, 1 - share)), len(levels))


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Return mask values as uint8, white as 255; ImageError for what no mask holds (such as floats)."""
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if values.dtype == np.uint16:
        return (values >> 8 if values.max() > 255 else values).astype(np.uint8)
    if values.dtype != np.uint8:
        raise ImageError(f"holds {values.dtype} values; save the mask as 8-bit")
    return values


def _brightness(values: np.ndarray) -> np.ndarray:
    """Return uint8 [H, W]: the mean of the channels, which treats black and white alike."""
    values = eight_bits(values)
    return values if values.ndim == 2 else np.rint(values.mean(-1)).astype(np.uint8)
