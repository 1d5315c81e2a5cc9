"""Confusion of pixels, and the ratios of them that the field's scores are."""

from typing import NamedTuple

import numpy as np

Numbers = np.ndarray | np.integer | np.floating


class Confusion(NamedTuple):
    """Confusion matrices: int64 or float64 arrays of one shape, such as [N] for N images, or scalars."""

    tp: Numbers
    fp: Numbers
    fn: Numbers
    tn: Numbers


def confusion(prediction: np.ndarray, truth: np.ndarray, threshold: float) -> Confusion:
    """Count the pixels of one image: prediction [H, W], positive above `threshold`, against truth, boolean [H, W]."""
    positive = prediction > threshold
    tp = np.count_nonzero(positive & truth)
    fp = np.count_nonzero(positive) - tp
    fn = np.count_nonzero(truth) - tp
    return Confusion(*(np.int64(count) for count in (tp, fp, fn, truth.size - tp - fp - fn)))


def f1(c: Confusion, epsilon: float = 1e-6) -> Numbers:
    """Return 2TP / (2TP + FP + FN + ε)."""
    return 2 * c.tp / (2 * c.tp + c.fp + c.fn + epsilon)


def iou(c: Confusion, epsilon: float = 1e-6) -> Numbers:
    """Return TP / (TP + FP + FN + ε)."""
    return c.tp / (c.tp + c.fp + c.fn + epsilon)


def mcc(c: Confusion, outside: float = 1e-6, inside: float = 0.0) -> Numbers:
    """Return Matthews' correlation, (TP·TN − FP·FN) / (√((TP+FP)(TP+FN)(TN+FP)(TN+FN) + inside) + outside)."""
    tp, fp, fn, tn = (np.asarray(part, float) for part in c)  # the product of four exceeds 64 bits
    return (tp * tn - fp * fn) / (np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn) + inside) + outside)


def accuracy(c: Confusion) -> Numbers:
    """Return (TP + TN) / all, of which there must be some."""
    return (c.tp + c.tn) / (c.tp + c.fp + c.fn + c.tn)


def precision(c: Confusion, epsilon: float = 1e-8) -> Numbers:
    """Return TP / (TP + FP + ε)."""
    return c.tp / (c.tp + c.fp + epsilon)


def recall(c: Confusion, epsilon: float = 1e-8) -> Numbers:
    """Return TP / (TP + FN + ε)."""
    return c.tp / (c.tp + c.fn + epsilon)
