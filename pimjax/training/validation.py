"""Scores of a run's model on its fixed validation set, on all its devices; and the summary at the end."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from pimjax.config import Config
from pimjax.data.images import write_png
from pimjax.data_checks.contact_sheets import caption_of
from pimjax.files import write_text
from pimjax.metrics.conventions import score
from pimjax.models.pim import predictions_of
from pimjax.training.distributed import is_lead_host, print_once
from pimjax.training.finished import PICTURES, SUMMARY
from pimjax.training.prediction_tables import Predictions, predict_all, score_table, summarize, validation_sheet
from pimjax.training.progress import timed_phase
from pimjax.training.setup import TrainContext
from pimjax.training.sharding import Partition
from pimjax.training.step import TrainState, eval_step

Predict = Callable[[dict[str, Any], np.ndarray], Predictions]
SHEET_ROWS = 12  # examples on the contact sheet


def make_predict(model: nn.Module, partition: Partition, everything: bool = False) -> Predict:
    """Return (variables, uint8 images [B, S, S, 3]) → predictions, compiled when first called; the mask, or
    `everything`.

    B must be a multiple of the number of devices; every process gives, and gets, all B.
    """

    def forward(variables: dict[str, Any], images: Any) -> Predictions:
        mask, *others = predictions_of(eval_step(model, variables, images))
        return Predictions(mask, *others) if everything else Predictions(mask, None, None)

    return partition.map_forward(forward)


def predict_set(context: TrainContext, predict: Predict, variables: dict[str, Any], images: np.ndarray) -> Predictions:
    """Return predictions for uint8 images [N, S, S, 3], on the host, in batches as large as those of
    training at most.
    """
    devices = len(context.partition.devices)
    per_device = min(context.config.data.batch_size // context.config.train.grad_accum_steps, len(images)) / devices
    return predict_all(functools.partial(predict, variables), images, devices * max(1, int(per_device)))


def validate(context: TrainContext, predict: Predict, state: TrainState) -> tuple[dict[str, float], Predictions]:
    """Return mean scores over the validation set, convention "pim", threshold 0.5; and the maps, the same in all
    processes.
    """
    params = state.params
    if state.ema_params is not None:
        params = context.partition.replicate(context.partition.to_stored(state, context.shapes).ema_params)
    variables = {"params": params, "batch_stats": state.batch_stats}
    predictions = predict_set(context, predict, variables, context.examples["image"])
    return score(predictions.mask, context.examples["mask"]), predictions


def sheet(context: TrainContext, predictions: Predictions) -> np.ndarray:
    """Return the first examples of the validation set and what was predicted of them. uint8 RGB."""
    shown = {name: array[:SHEET_ROWS] for name, array in context.examples.items()}
    first = Predictions(*(None if array is None else array[:SHEET_ROWS] for array in predictions))
    return validation_sheet(shown, first, [caption_of(recipe) for recipe in shown["recipe"].tolist()])


def write_summary(
    context: TrainContext, predict: Predict, variables: dict[str, Any], step: int
) -> list[dict[str, Any]]:
    """Return scores the best checkpoint's variables, of `step`; writes `summary.json` and `contact_sheet.png`."""
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
