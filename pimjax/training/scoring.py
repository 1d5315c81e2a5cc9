"""Scores of a run's model on its fixed validation set, on all its devices; and the summary at the end."""

import functools
import json
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np

from pimjax.data.images import write_png
from pimjax.evaluation.metrics import score
from pimjax.evaluation.validate import Predictions, predict_all, score_table, summarize, validation_sheet
from pimjax.inspection.sheets import caption_of
from pimjax.training.devices import Layout
from pimjax.training.processes import is_first, tell
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


def summarise(setup: Run, predict: Predict, variables: dict[str, Any]) -> list[dict[str, Any]]:
    """Scores the best checkpoint's variables, prints the table, writes `summary.json` and `contact_sheet.png`."""
    predictions = predict_set(setup, predict, variables, setup.examples["image"])
    rows = summarize(predictions.mask, setup.examples["mask"])
    draw = make_predict(setup.recipe.model, setup.layout, everything=True)
    pictured = predict_set(setup, draw, variables, setup.examples["image"][:SHEET_ROWS])
    tell(f"\nbest checkpoint (by F1) on {len(predictions.mask)} validation examples:\n\n{score_table(rows)}\n")
    if is_first():
        (setup.workdir / "summary.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        write_png(setup.workdir / "contact_sheet.png", sheet(setup, pictured))
        tell(f"pictures: {setup.workdir / 'contact_sheet.png'}")
    return rows
