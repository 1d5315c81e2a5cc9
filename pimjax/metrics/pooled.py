"""All pixels of a dataset in one confusion matrix and one histogram, which add up however a dataset is split."""

import dataclasses

import numpy as np

from pimjax.metrics.confusion import Confusion, accuracy, confusion, f1, iou, mcc, precision, recall
from pimjax.metrics.curves import Curve, auc_of, average_precision, best_f1, curve_of_histogram

BINS = 256


@dataclasses.dataclass(frozen=True)
class Pooled:
    """Count in integers alone, so that a sum of parts equals the whole exactly, in any order."""

    confusion: np.ndarray  # int64 [4]: TP, FP, FN, TN at the threshold
    histogram: np.ndarray  # int64 [2, 256]: pixels by truth, and by prediction in steps of 1/255, rounded

    def __add__(self, other: "Pooled") -> "Pooled":
        return Pooled(self.confusion + other.confusion, self.histogram + other.histogram)

    def scores(self) -> dict[str, float]:
        """Return F1, IoU, MCC, accuracy, precision, recall at the threshold; the rest by the histogram, to 1/255.

        "auc", "average_precision", "best_f1" with "best_threshold", and "calibration_error" (expected calibration
        error of Naeini et al., AAAI 2015: fifteen bins of equal width). NaN where a class is missing.
        """
        c, over = Confusion(*self.confusion), self.curve()
        best, threshold = best_f1(over)
        of_positives = {measure.__name__: float(measure(c)) for measure in (f1, iou, mcc, precision, recall)}
        if not c.tp + c.fn:
            of_positives = dict.fromkeys(of_positives, float("nan"))
        return {
            **of_positives,
            "accuracy": float(accuracy(c)),
            "auc": auc_of(over),
            "average_precision": average_precision(over),
            "best_f1": best,
            "best_threshold": threshold,
            "calibration_error": calibration_error(self.histogram),
        }

    def curve(self) -> Curve:
        """Return the curve over the histogram's values."""
        return curve_of_histogram(self.histogram, np.linspace(0, 1, BINS))


def pool(prediction: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> Pooled:
    """Pool the pixels of probabilities in 0..1, real [...], and boolean truth of the same shape."""
    levels = np.rint(np.multiply(prediction, 255, dtype=np.float32)).astype(np.uint8)
    histogram = [np.bincount(levels[chosen], minlength=BINS) for chosen in (~truth, truth)]
    return Pooled(np.array(confusion(prediction, truth, threshold), np.int64), np.array(histogram, np.int64))


def reliability(histogram: np.ndarray, bins: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gather a `Pooled.histogram` in bins of equal width: mean prediction, share of positives, pixels, each [bins].

    The first two are NaN for an empty bin.
    """
    values = np.linspace(0, 1, histogram.shape[1])
    bin_of = np.minimum(np.arange(len(values)) * bins // (len(values) - 1), bins - 1)
    pixels = histogram.sum(0)
    total, positive, predicted = (np.bincount(bin_of, w, bins) for w in (pixels, histogram[1], pixels * values))
    with np.errstate(invalid="ignore"):
        return predicted / total, positive / total, total


def calibration_error(histogram: np.ndarray, bins: int = 15) -> float:
    """Return Σ pixels·|mean prediction − share of positives| / all pixels, over `reliability`."""
    predicted, positive, pixels = reliability(histogram, bins)
    return float(np.nansum(pixels * np.abs(predicted - positive)) / pixels.sum())
