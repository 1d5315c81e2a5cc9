"""Scores of a map under the conventions of the field, each by its own name. Pure numpy and OpenCV.

An image that a convention leaves out, or whose score it does not define, scores NaN there: means are over the others,
and whoever prints a mean prints how many images it is of.
"""

from collections.abc import Callable

import cv2
import numpy as np

from pimjax.metrics.confusion import Confusion, accuracy, confusion, f1, iou, mcc, precision, recall
from pimjax.metrics.curves import auc_of, average_precision, best_f1, curve, equal_error_rate, inverted, roc_auc
from pimjax.metrics.pooled import pool

Scores = dict[str, float]
EROSION, DILATION = 15, 11  # of convention "permuted", in pixels
IMAGE_SCORES = ("max", "top1", "logit")


def score(prediction: np.ndarray, truth: np.ndarray, convention: str = "pim", threshold: float = 0.5) -> Scores:
    """Return the scores of one image, or the means over a stack of images.

    With the pixel counts TP, FP, FN, TN at prediction > threshold, per image:

    - "pim", the released model's, meant for its own map: F1 = 2TP/(2TP+FP+FN+1e-6), IoU = TP/(TP+FP+FN+1e-6),
      MCC = (TP·TN−FP·FN)/(√((TP+FP)(TP+FN)(TN+FP)(TN+FN))+1e-6), accuracy; all four are 1 where neither prediction nor
      truth has a positive pixel.
    - "pim-fullsize": the map floored to 8 bits, resized bilinearly to the truth's size, thresholded there; F1 and IoU
      as above, MCC with 1e-8 inside the root, AUC over the 8-bit values; authentic images are left out.
    - "benco", IMDL-BenCo's: precision, recall, F1 and IoU with ε = 1e-8, and the AUC; an authentic image scores F1 0
      even where nothing is marked. "benco-reverse": of the inverted map. "benco-double": the better of both, each.
    - "permuted", TruFor's: F1 of the map or of its inverse, whichever is better, at the threshold ("f1") and at the
      image's best ("best_f1"), without a band along the mask's edge (erosion 15, dilation 11 pixels); authentic images,
      and those whose mask the erosion empties, are left out.
    - "pooled": one confusion matrix of all pixels of all images; see `pimjax.metrics.pooled.Pooled.scores`.

    Args:
        prediction: probability of manipulation, 0..1, [H, W] or [N, H, W]; for "pim-fullsize" of any size.
        truth: of the same shape; above 0.5 (boolean or 0/1) is manipulated.
        convention: one of `CONVENTIONS`, or "pooled".
        threshold: a prediction strictly above it is positive.

    Returns:
        scores by name, NaN where they are defined for no image.

    Raises:
        ValueError: shapes differ, a prediction is not in 0..1, or the convention is unknown.
    """
    if convention == "pooled":
        prediction, truth = _stacks(prediction, truth)
        return pool(prediction, truth, threshold).scores()
    scores = score_images(prediction, truth, threshold, convention)
    return {name: _mean(values) for name, values in scores.items()}


def score_images(
    prediction: np.ndarray, truth: np.ndarray, threshold: float = 0.5, convention: str = "pim"
) -> dict[str, np.ndarray]:
    """Score every image by itself as `score` does, float64 {"f1": [N], …}; not for "pooled"."""
    if convention not in CONVENTIONS:
        known = ", ".join(map(repr, (*CONVENTIONS, "pooled")))
        raise ValueError(f"unknown convention {convention!r}; known: {known}")
    prediction, truth = _stacks(prediction, truth, any_size=convention == "pim-fullsize")
    rows = [CONVENTIONS[convention](p, t, threshold) for p, t in zip(prediction, truth, strict=True)]
    return {name: np.array([row[name] for row in rows], float) for name in rows[0]}


def _stacks(prediction: np.ndarray, truth: np.ndarray, any_size: bool = False) -> tuple[np.ndarray, np.ndarray]:
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    alike = prediction.shape == truth.shape or (any_size and prediction.shape[:-2] == truth.shape[:-2])
    if not alike or prediction.ndim not in (2, 3):
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} must both be [H, W] or both [N, H, W]")
    if not prediction.size or not (prediction.min() >= 0 and prediction.max() <= 1):  # false for NaN, too
        raise ValueError("a prediction must be of probabilities, 0..1; this one is empty, or holds others, or NaN")
    if prediction.dtype.kind != "f":
        prediction = prediction.astype(np.float32)
    truth = truth if truth.dtype == bool else truth > 0.5
    return (prediction, truth) if prediction.ndim == 3 else (prediction[None], truth[None])


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _pim(prediction: np.ndarray, truth: np.ndarray, threshold: float) -> Scores:
    c = confusion(prediction, truth, threshold)
    empty = not c.tp + c.fp + c.fn
    return {measure.__name__: 1.0 if empty else float(measure(c)) for measure in (f1, iou, mcc, accuracy)}


def _pim_fullsize(prediction: np.ndarray, truth: np.ndarray, threshold: float) -> Scores:
    if not truth.any():
        return dict.fromkeys(("f1", "iou", "mcc", "auc"), float("nan"))
    levels = np.floor(np.multiply(prediction, 255, dtype=np.float32)).astype(np.uint8)
    if levels.shape != truth.shape:
        levels = cv2.resize(levels, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
    c = confusion(levels, truth, 255 * threshold)
    return {"f1": float(f1(c)), "iou": float(iou(c)), "mcc": float(mcc(c, 0, 1e-8)), "auc": roc_auc(levels, truth)}


def _benco(prediction: np.ndarray, truth: np.ndarray, threshold: float) -> Scores:
    return benco_variants(prediction, truth, threshold)["benco"]


def _benco_ratios(c: Confusion) -> Scores:
    p, r = float(precision(c)), float(recall(c))
    return {"precision": p, "recall": r, "f1": 2 * p * r / (p + r + 1e-8), "iou": float(iou(c, 1e-8))}


def benco_variants(prediction: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> dict[str, Scores]:
    """Return the scores of one image under the three conventions of IMDL-BenCo, in the time of one; arguments as
    `score`.
    """
    plain = _benco_ratios(confusion(prediction, truth, threshold)) | {"auc": roc_auc(prediction, truth)}
    inverse = _benco_ratios(confusion(1 - prediction, truth, threshold)) | {"auc": 1 - plain["auc"]}
    better = {name: max(value, inverse[name]) for name, value in plain.items()}
    return {"benco": plain, "benco-reverse": inverse, "benco-double": better}


def _benco_reverse(prediction: np.ndarray, truth: np.ndarray, threshold: float) -> Scores:
    return benco_variants(prediction, truth, threshold)["benco-reverse"]


def _benco_double(prediction: np.ndarray, truth: np.ndarray, threshold: float) -> Scores:
    return benco_variants(prediction, truth, threshold)["benco-double"]


def _permuted(prediction: np.ndarray, truth: np.ndarray, threshold: float) -> Scores:
    mask = truth.astype(np.uint8)
    inner, outer = (
        operation(mask, np.ones((side, side), np.uint8), borderType=cv2.BORDER_REFLECT)
        for operation, side in ((cv2.erode, EROSION), (cv2.dilate, DILATION))
    )
    if not inner.any():
        return {"f1": float("nan"), "best_f1": float("nan")}
    certain = inner.astype(bool) | ~outer.astype(bool)
    truth, plain = inner[certain].astype(bool), prediction[certain]
    over = curve(plain, truth)
    return {
        "f1": max(float(f1(confusion(way, truth, threshold), 0)) for way in (plain, 1 - plain)),
        "best_f1": max(best_f1(way)[0] for way in (over, inverted(over))),
    }


CONVENTIONS: dict[str, Callable[[np.ndarray, np.ndarray, float], Scores]] = {
    "pim": _pim,
    "pim-fullsize": _pim_fullsize,
    "benco": _benco,
    "benco-reverse": _benco_reverse,
    "benco-double": _benco_double,
    "permuted": _permuted,
}

# At which size each is scored, in pixels of a square or: the map's own, the network's input's, the image's.
RESOLUTIONS: dict[str, str | int] = {
    "pim": 128,
    "pim-fullsize": "map",  # which it enlarges itself
    "benco": "input",
    "benco-reverse": "input",
    "benco-double": "input",
    "permuted": "image",
}


def image_score(prediction: np.ndarray, reduction: str = "max") -> float:
    """Return one number for an image, from its map of probabilities [H, W].

    "max": the largest; "top1": the mean of the largest 1 % of the pixels; "logit": the mean of all pixels' logits, as a
    probability. ValueError for another `reduction`.
    """
    flat = np.ravel(prediction)
    if reduction == "max":
        return float(flat.max())
    if reduction == "top1":
        many = max(1, len(flat) // 100)
        return float(np.partition(flat, -many)[-many:].mean(dtype=float))
    if reduction == "logit":
        p = np.clip(flat.astype(float), 1e-6, 1 - 1e-6)
        return float(1 / (1 + np.exp(-np.mean(np.log(p) - np.log1p(-p)))))
    raise ValueError(f"image score {reduction!r}: it must be one of {', '.join(map(repr, IMAGE_SCORES))}")


def detection(scores: np.ndarray, manipulated: np.ndarray, threshold: float = 0.5) -> Scores:
    """Return how well scores [N] tell manipulated images from authentic ones, boolean [N].

    Returns:
        "auc", "average_precision" and "equal_error_rate" over all thresholds; "balanced_accuracy", "f1" and
        "fpr" (share of authentic images that are called manipulated) at score > threshold. NaN where the
        images of a class are missing.
    """
    scores, manipulated = np.asarray(scores, float), np.asarray(manipulated, bool)
    c, over = confusion(scores, manipulated, threshold), curve(scores, manipulated)
    with np.errstate(invalid="ignore"):
        hits, false_alarms = c.tp / np.float64(c.tp + c.fn), c.fp / np.float64(c.fp + c.tn)
    return {
        "auc": auc_of(over),
        "average_precision": average_precision(over),
        "equal_error_rate": equal_error_rate(over),
        "balanced_accuracy": float(hits + 1 - false_alarms) / 2,
        "f1": float(f1(c)) if manipulated.any() else float("nan"),
        "fpr": float(false_alarms),
    }
