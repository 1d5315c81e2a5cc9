"""Running a model over a set of examples: maps, scores and pictures."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pimjax.evaluation.metrics import score_images
from pimjax.normalization import denormalize
from pimjax.pictures import contact_sheet, heat


class Predictions(NamedTuple):
    """What a model says of N examples, on the host; None where it has no such decoder, or was not asked."""

    mask: np.ndarray  # float32 [N, h, w], probability of manipulation
    boundary: np.ndarray | None  # float32 [N, h, w]
    reconstruction: np.ndarray | None  # float32 [N, h, w, 3], normalised


def predict_all(predict: Callable[[np.ndarray], Predictions], images: np.ndarray, batch_size: int) -> Predictions:
    """`predict` over uint8 images [N, H, W, 3] in batches of exactly `batch_size`, the last one padded."""
    parts = []
    for start in range(0, len(images), batch_size):
        chunk = images[start : start + batch_size]
        padding = np.zeros((batch_size - len(chunk), *images.shape[1:]), images.dtype)
        out = predict(np.concatenate([chunk, padding]))
        parts.append([None if array is None else np.asarray(array)[: len(chunk)] for array in out])
    return Predictions(*(None if part[0] is None else np.concatenate(part) for part in zip(*parts, strict=True)))


def score_table(rows: list[dict[str, Any]]) -> str:
    """The rows of `metrics.summarize` as Markdown."""
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
    """Contact sheet, a row per example: input, truth, mask, boundary, reconstruction. uint8 RGB."""
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
