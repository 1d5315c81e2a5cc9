"""Scores over all thresholds at once, ties counted as ties."""

from typing import NamedTuple

import numpy as np


class Curve(NamedTuple):
    """What is marked at each of the K distinct values of a prediction, from the highest to the lowest, all of it."""

    thresholds: np.ndarray  # [K] float64: marked is what lies at or above
    tp: np.ndarray  # [K] int64
    fp: np.ndarray  # [K] int64


def curve(prediction: np.ndarray, truth: np.ndarray) -> Curve:
    """Return the curve of predictions (real, finite) and boolean truth, both of one shape and not empty."""
    scores, truth = np.ravel(prediction), np.ravel(truth).astype(bool, copy=False)
    if scores.dtype == np.uint8:
        histogram = np.array([np.bincount(scores[chosen], minlength=256) for chosen in (~truth, truth)])
        return curve_of_histogram(histogram, np.arange(256.0))
    if scores.dtype == np.float32 and scores.min() >= 0:
        # Such floats are in the order of their bits, and one bit is free for the truth: one sort of integers.
        keys = (scores.view(np.uint32) << np.uint32(1)) | truth
        keys.sort()
        keys = keys[::-1]
        values, truth = (keys >> np.uint32(1)).view(np.float32), keys & np.uint32(1)
    else:
        order = np.argsort(scores, kind="stable")[::-1]
        values, truth = scores[order], truth[order]
    last = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)  # of each run of equal values
    tp = np.cumsum(truth, dtype=np.int64)[last]
    return Curve(values[last].astype(float), tp, last + 1 - tp)


def curve_of_histogram(histogram: np.ndarray, values: np.ndarray) -> Curve:
    """Return the curve of pixels counted by truth and value, int [2, n], at `values`, ascending [n]."""
    seen = np.flatnonzero(histogram.sum(0))[::-1]
    fp, tp = np.cumsum(histogram[:, seen], axis=1)
    return Curve(values[seen], tp, fp)


def inverted(c: Curve) -> Curve:
    """Return the curve of 1 − prediction."""
    # Marked at or below a value is what is not marked above it.
    tp, fp = ((counts[-1] - np.append(0, counts[:-1]))[::-1] for counts in (c.tp, c.fp))
    return Curve(1 - c.thresholds[::-1], tp, fp)


def roc_auc(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Return the area under the ROC curve: the rank statistic, ties counted half; NaN where `truth` has one class only.

    Args:
        prediction: real, finite, of any shape.
        truth: of the same shape; above 0.5 is positive.
    """
    return auc_of(curve(prediction, np.asarray(truth) > 0.5))


def auc_of(c: Curve) -> float:
    """Return the area under the ROC curve of `c`, by trapezoids; NaN where there is one class only."""
    if not c.tp[-1] or not c.fp[-1]:
        return float("nan")
    hits, false_alarms = np.append(0, c.tp) / c.tp[-1], np.append(0, c.fp) / c.fp[-1]  # products of counts overflow
    return float(np.sum(np.diff(false_alarms) * (hits[1:] + hits[:-1])) / 2)


def average_precision(c: Curve) -> float:
    """Return Σ (R_k − R_{k−1})·P_k over the distinct thresholds, not interpolated; NaN without positives."""
    if not c.tp[-1]:
        return float("nan")
    return float(np.sum(np.diff(c.tp, prepend=0) * (c.tp / (c.tp + c.fp))) / c.tp[-1])


def best_f1(c: Curve) -> tuple[float, float]:
    """Return the highest F1 over all thresholds, and the threshold, at or above which is marked; NaN without positives.

    Threshold chosen by the truth: an upper bound, not what a user would get.
    """
    if not c.tp[-1]:
        return float("nan"), float("nan")
    values = 2 * c.tp / (c.tp + c.fp + c.tp[-1])
    best = int(np.argmax(values))
    return float(values[best]), float(c.thresholds[best])


def equal_error_rate(c: Curve) -> float:
    """Return where the false-positive rate equals the miss rate, linear between thresholds; NaN where there is one
    class.
    """
    if not c.tp[-1] or not c.fp[-1]:
        return float("nan")
    false_alarms, misses = np.append(0, c.fp) / c.fp[-1], 1 - np.append(0, c.tp) / c.tp[-1]
    after = int(np.argmax(false_alarms >= misses))  # never 0: there nothing is marked
    gap = (misses - false_alarms)[after - 1 : after + 1]
    share = gap[0] / (gap[0] - gap[1])
    return float(false_alarms[after - 1] + share * (false_alarms[after] - false_alarms[after - 1]))
