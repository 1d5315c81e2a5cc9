"""Pixel-level scores under named conventions, with intervals. Pure numpy."""

from typing import Any

import numpy as np

METRICS = ("f1", "iou", "mcc", "accuracy")


def score(
    prediction: np.ndarray, truth: np.ndarray, convention: str = "pim", threshold: float = 0.5
) -> dict[str, float]:
    """Scores of one image, or the means over a stack of images.

    Convention "pim", the released model's: with the pixel counts TP, FP, FN, TN at prediction > threshold,
    F1 = 2TP/(2TP+FP+FN+1e-6), IoU = TP/(TP+FP+FN+1e-6), MCC = (TP·TN−FP·FN)/(√((TP+FP)(TP+FN)(TN+FP)(TN+FN))+1e-6),
    accuracy; all four are 1 where neither prediction nor truth has a positive pixel; means are over images.

    Args:
        prediction: probability of manipulation, real [H, W] or [N, H, W].
        truth: of the same shape; above 0.5 (boolean or 0/1) is manipulated.
        convention: "pim".
        threshold: a prediction strictly above it is positive.

    Returns:
        {"f1", "iou", "mcc", "accuracy"}.

    Raises:
        ValueError: shapes differ, a prediction is not finite, or the convention is unknown.
    """
    if convention != "pim":
        raise ValueError(f"unknown convention {convention!r}; known: 'pim'")
    scores = score_images(prediction, truth, threshold)
    return {name: float(values.mean()) for name, values in scores.items()}


def score_images(prediction: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> dict[str, np.ndarray]:
    """As `score` under convention "pim", one float64 per image: {"f1": [N], …}."""
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape or prediction.ndim not in (2, 3):
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} must both be [H, W] or both [N, H, W]")
    if not np.isfinite(prediction).all():
        raise ValueError("prediction holds NaN or infinity")
    size = prediction.shape[-2] * prediction.shape[-1]
    p, t = (prediction > threshold).reshape(-1, size), (truth > 0.5).reshape(-1, size)
    tp, fp, fn, tn = ((a & b).sum(1, dtype=float) for a, b in ((p, t), (p, ~t), (~p, t), (~p, ~t)))
    scores = {
        "f1": 2 * tp / (2 * tp + fp + fn + 1e-6),
        "iou": tp / (tp + fp + fn + 1e-6),
        "mcc": (tp * tn - fp * fn) / (np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) + 1e-6),
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
    }
    empty = tp + fp + fn == 0
    return {name: np.where(empty, 1.0, values) for name, values in scores.items()}


def roc_auc(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve by the rank statistic, ties counted half; NaN where `truth` has only one class."""
    scores, truth = np.ravel(prediction), np.ravel(truth) > 0.5
    positives = int(truth.sum())
    negatives = truth.size - positives
    if not positives or not negatives:
        return float("nan")
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2  # ranks count from 1
    return float((mean_rank[index[truth]].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def bootstrap_interval(values: np.ndarray, seed: int = 0, resamples: int = 2000) -> tuple[float, float]:
    """95 % percentile interval of the mean of `values` [N], images resampled with replacement."""
    values = np.asarray(values, float)
    picks = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    low, high = np.percentile(values[picks].mean(1), (2.5, 97.5))
    return float(low), float(high)


def summarize(prediction: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> list[dict[str, Any]]:
    """A row per metric: mean over images with its interval, and the same for marking every pixel.

    Args:
        prediction: probability [N, H, W].
        truth: [N, H, W], 1 = manipulated.
        threshold: of the prediction.

    Returns:
        rows {"metric", "mean", "low", "high", "mark_everything", "images", "undefined"}: convention "pim" for F1, IoU
        and MCC, and the pixel AUC, which is undefined for images of one class: those are counted, not averaged.
    """
    scores = score_images(prediction, truth, threshold)
    everything = score_images(np.ones_like(prediction), truth)
    auc = np.array([roc_auc(p, t) for p, t in zip(prediction, truth, strict=True)])
    scores, everything = scores | {"auc": auc}, everything | {"auc": np.where(np.isnan(auc), np.nan, 0.5)}
    rows = []
    for name in ("f1", "iou", "mcc", "auc"):
        defined = ~np.isnan(scores[name])
        values = scores[name][defined]
        low, high = bootstrap_interval(values) if len(values) else (float("nan"),) * 2
        rows.append(
            {
                "metric": name,
                "mean": float(values.mean()) if len(values) else float("nan"),
                "low": low,
                "high": high,
                "mark_everything": float(everything[name][defined].mean()) if len(values) else float("nan"),
                "images": int(defined.sum()),
                "undefined": int((~defined).sum()),
            }
        )
    return rows
