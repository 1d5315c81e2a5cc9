"""Scores of a run's model on its fixed validation set, on all its devices; and the summary at the end."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from pimjax.config import Config
from pimjax.data.images import write_png
from pimjax.data_checks.contact_sheets import caption_of
from pimjax.files import write_text
from pimjax.metrics.bootstrap import bootstrap_interval
from pimjax.metrics.conventions import score, score_images
from pimjax.metrics.curves import roc_auc
from pimjax.models.pim import predictions_of
from pimjax.normalization import denormalize
from pimjax.training.distributed import is_lead_host, print_once
from pimjax.training.finished import PICTURES, SUMMARY
from pimjax.training.progress import timed_phase
from pimjax.training.setup import TrainContext
from pimjax.training.sharding import Partition
from pimjax.training.step import TrainState, eval_step
from pimjax.visualize import contact_sheet, heat


class Predictions(NamedTuple):
    """Hold what a model says of N examples, on the host; None where it has no such decoder, or was not asked."""

    mask: Any  # float32 [N, h, w], probability of manipulation
    boundary: Any | None  # float32 [N, h, w]
    reconstruction: Any | None  # float32 [N, h, w, 3], normalized


def predict_all(predict: Callable[[np.ndarray], Predictions], images: np.ndarray, batch_size: int) -> Predictions:
    """Apply `predict` to uint8 images [N, H, W, 3] in batches of exactly `batch_size`, the last one padded."""
    parts = []
    for start in range(0, len(images), batch_size):
        chunk = images[start : start + batch_size]
        padding = np.zeros((batch_size - len(chunk), *images.shape[1:]), images.dtype)
        out = predict(np.concatenate([chunk, padding]))
        parts.append([None if array is None else np.asarray(array)[: len(chunk)] for array in out])
    return Predictions(*(None if part[0] is None else np.concatenate(part) for part in zip(*parts, strict=True)))


def summarize(prediction: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> list[dict[str, Any]]:
    """Score by each metric: the mean over images with its interval, and the same for marking every pixel.

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
    """Draw a row per example: input, truth, mask, boundary, reconstruction. uint8 RGB."""
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


Predict = Callable[[dict[str, Any], np.ndarray], Predictions]
SHEET_ROWS = 12  # examples on the contact sheet


def make_predict(model: nn.Module, partition: Partition, everything: bool = False) -> Predict:
    """Make (variables, uint8 images [B, S, S, 3]) → predictions, compiled when first called; the mask, or `everything`.

    B must be a multiple of the number of devices; every process gives, and gets, all B.
    """

    def forward(variables: dict[str, Any], images: Any) -> Predictions:
        found = predictions_of(eval_step(model, variables, images))
        return Predictions(*found) if everything else Predictions(found[0], None, None)

    return partition.map_forward(forward)


def predict_set(context: TrainContext, predict: Predict, variables: dict[str, Any], images: np.ndarray) -> Predictions:
    """Predict for uint8 images [N, S, S, 3], on the host, in batches as large as those of training at most."""
    devices = len(context.partition.devices)
    per_device = min(context.config.data.batch_size // context.config.train.grad_accum_steps, len(images)) / devices
    return predict_all(functools.partial(predict, variables), images, devices * max(1, int(per_device)))


def validate(context: TrainContext, predict: Predict, state: TrainState) -> tuple[dict[str, float], Predictions]:
    """Score the validation set, convention "pim", threshold 0.5; return means and maps, the same in all processes."""
    params = state.params
    if state.ema_params is not None:
        params = context.partition.replicate(context.partition.to_stored(state, context.shapes).ema_params)
    variables = {"params": params, "batch_stats": state.batch_stats}
    predictions = predict_set(context, predict, variables, context.examples["image"])
    return score(predictions.mask, context.examples["mask"]), predictions


def sheet(context: TrainContext, predictions: Predictions) -> np.ndarray:
    """Draw the first examples of the validation set and what was predicted of them. uint8 RGB."""
    shown = {name: array[:SHEET_ROWS] for name, array in context.examples.items()}
    first = Predictions(*(None if array is None else array[:SHEET_ROWS] for array in predictions))
    return validation_sheet(shown, first, [caption_of(recipe) for recipe in shown["recipe"].tolist()])


def write_summary(
    context: TrainContext, predict: Predict, variables: dict[str, Any], step: int
) -> list[dict[str, Any]]:
    """Score the variables of `step`, the best one; write `summary.json`, `contact_sheet.png`; return the rows."""
    with timed_phase(f"scoring the best checkpoint, of step {step}"):
        predictions = predict_set(context, predict, variables, context.examples["image"])
        rows = [row | {"step": step} for row in summarize(predictions.mask, context.examples["mask"])]
        draw = make_predict(context.step_config.model, context.partition, everything=True)
        pictured = predict_set(context, draw, variables, context.examples["image"][:SHEET_ROWS])
    if is_lead_host():
        # The run's lock is held, and a file that is not a run's was refused before it began.
        write_png(context.workdir / PICTURES, sheet(context, pictured), ours=True)
        write_text(context.workdir / SUMMARY, json.dumps(rows, indent=1) + "\n", ours=True)
    print_summary(context.config, rows)
    return rows


def print_summary(config: Config, rows: list[dict[str, Any]]) -> None:
    """Print the rows of a run's summary."""
    of = f"the best checkpoint (by F1), of step {rows[0]['step']}"
    print_once(f"\n{of}, on {rows[0]['images']} validation examples:\n\n{score_table(rows)}\n")
    print_once(f"pictures: {Path(config.workdir) / PICTURES}")
