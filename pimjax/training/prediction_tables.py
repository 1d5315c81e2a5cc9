"""Running a model over a set of examples: maps, scores and pictures."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pimjax.metrics.bootstrap import bootstrap_interval
from pimjax.metrics.conventions import score_images
from pimjax.metrics.curves import roc_auc
from pimjax.normalization import denormalize
from pimjax.visualize import contact_sheet, heat


class Predictions(NamedTuple):
    """What a model says of N examples, on the host; None where it has no such decoder, or was not asked."""

    mask: np.ndarray  # float32 [N, h, w], probability of manipulation
    boundary: np.ndarray | None  # float32 [N, h, w]
    reconstruction: np.ndarray | None  # float32 [N, h, w, 3], normalized


def predict_all(predict: Callable[[np.ndarray], Predictions], images: np.ndarray, batch_size: int) -> Predictions:
    """Return `predict` over uint8 images [N, H, W, 3] in batches of exactly `batch_size`, the last one padded."""
    parts = []
    for start in range(0, len(images), batch_size):
        chunk = images[start : start + batch_size]
        padding = np.zeros((batch_size - len(chunk), *images.shape[1:]), images.dtype)
        out = predict(np.concatenate([chunk, padding]))
        parts.append([None if array is None else np.asarray(array)[: len(chunk)] for array in out])
    return Predictions(*(None if part[0] is None else np.concatenate(part) for part in zip(*parts, strict=True)))


def summarize(prediction: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> list[dict[str, Any]]:
    """Return a row per metric: mean over images with its interval, and the same for marking every pixel.

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
        low, high = bootstrap_interval(values)
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


def score_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows of `summarize` as Markdown."""
    lines = [
        "| metric | score | 95 % interval | marking everything | images |",
        "|---|---|---|---|---|",
    ]
    names = {"f1": "F1 at 0.5", "iou": "IoU at 0.5", "mcc": "MCC at 0.5", "auc": "pixel AUC"}
    for row in rows:
        undefined = f" ({row['undefined']} undefined)" if row["undefined"] else ""
        lines.append(
            f"| {names[row['metric']]} | {row['mean']:.3f} | {row['low']:.3f} … {row['high']:.3f} | "
            f"{row['mark_everything']:.3f} | {row['images']}{undefined} |"
        )
    return "\n".join(lines)


def validation_sheet(examples: dict[str, np.ndarray], predictions: Predictions, captions: list[str]) -> np.ndarray:
    """Return contact sheet, a row per example: input, truth, mask, boundary, reconstruction. uint8 RGB."""
    f1 = score_images(predictions.mask, examples["mask"])["f1"]
    columns = {
        "input": examples["image"],
        "truth": examples["mask"].astype(np.float32),
        "predicted mask": [heat(p) for p in predictions.mask],
    }
    if predictions.boundary is not None:
        columns["predicted boundary"] = [heat(p) for p in predictions.boundary]
    if predictions.reconstruction is not None:
        columns["reconstruction"] = denormalize(predictions.reconstruction)
    labels = [f"F1 {value:.2f}  {caption}" for value, caption in zip(f1, captions, strict=True)]
    return contact_sheet(columns, labels, title="pimjax: fixed validation forgeries, first rows")
