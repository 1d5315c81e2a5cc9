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
from pimjax.evaluation.metrics import score
from pimjax.evaluation.validate import Predictions, predict_all, score_table, summarize, validation_sheet
from pimjax.files import write_text
from pimjax.inspection.sheets import caption_of
from pimjax.training.devices import Layout
from pimjax.training.finished import PICTURES, SUMMARY
from pimjax.training.processes import is_first, tell
from pimjax.training.progress import telling
from pimjax.training.setup import Run
from pimjax.training.step import TrainState, eval_step, predictions_of

Predict = Callable[[dict[str, Any], np.ndarray], Predictions]
SHEET_ROWS = 12  # examples on the contact sheet


def make_predict(model: nn.Module, layout: Layout, everything: bool = False) -> Predict:
    """(variables, uint8 images [B, S, S, 3]) → predictions, compiled when first called; the mask, or `everything`.

    B must be a multiple of the number of devices; every process gives, and gets, all B.
    """

    def forward(variables: dict[str, Any], images: Any) -> Predictions:
        mask, *others = predictions_of(eval_step(model, variables, images))
        return Predictions(mask, *others) if everything else Predictions(mask, None, None)

    return layout.map_forward(forward)


def predict_set(setup: Run, predict: Predict, variables: dict[str, Any], images: np.ndarray) -> Predictions:
    """Predictions for uint8 images [N, S, S, 3], on the host, in batches as large as those of training at most."""
    devices = len(setup.layout.devices)
    per_device = min(setup.config.data.batch_size // setup.config.train.accumulate, len(images)) / devices
    return predict_all(functools.partial(predict, variables), images, devices * max(1, int(per_device)))


def validate(setup: Run, predict: Predict, state: TrainState) -> tuple[dict[str, float], Predictions]:
    """Mean scores over the validation set, convention "pim", threshold 0.5; and the maps, the same in all processes."""
    params = state.params
    if state.average is not None:
        params = setup.layout.whole(setup.layout.to_stored(state, setup.shapes).average)
    variables = {"params": params, "batch_stats": state.batch_stats}
    predictions = predict_set(setup, predict, variables, setup.examples["image"])
    return score(predictions.mask, setup.examples["mask"]), predictions


def sheet(setup: Run, predictions: Predictions) -> np.ndarray:
    """The first examples of the validation set and what was predicted of them. uint8 RGB."""
    shown = {name: array[:SHEET_ROWS] for name, array in setup.examples.items()}
    first = Predictions(*(None if array is None else array[:SHEET_ROWS] for array in predictions))
    return validation_sheet(shown, first, [caption_of(recipe) for recipe in shown["recipe"].tolist()])


def summarise(setup: Run, predict: Predict, variables: dict[str, Any], step: int) -> list[dict[str, Any]]:
    """Scores the best checkpoint's variables, of `step`; writes `summary.json` and `contact_sheet.png`."""
    with telling(f"scoring the best checkpoint, of step {step}"):
        predictions = predict_set(setup, predict, variables, setup.examples["image"])
        rows = [row | {"step": step} for row in summarize(predictions.mask, setup.examples["mask"])]
        draw = make_predict(setup.recipe.model, setup.layout, everything=True)
        pictured = predict_set(setup, draw, variables, setup.examples["image"][:SHEET_ROWS])
    if is_first():
        # The run's lock is held, and a file that is not a run's was refused before it began.
        write_png(setup.workdir / PICTURES, sheet(setup, pictured), ours=True)
        write_text(setup.workdir / SUMMARY, json.dumps(rows, indent=1) + "\n", ours=True)
    tell_summary(setup.config, rows)
    return rows


def tell_summary(config: Config, rows: list[dict[str, Any]]) -> None:
    """Prints the rows of a run's summary."""
    of = f"the best checkpoint (by F1), of step {rows[0]['step']}"
    tell(f"\n{of}, on {rows[0]['images']} validation examples:\n\n{score_table(rows)}\n")
    tell(f"pictures: {Path(config.workdir) / PICTURES}")
