"""From the rows of a dataset to what is said of it: means with intervals, counts of what they are of, warnings."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pimjax.evaluation.caveats import caveats, is_thresholded, without_curves
from pimjax.files import Row
from pimjax.metrics.bootstrap import bootstrap_interval, paired_difference
from pimjax.metrics.conventions import CONVENTIONS, IMAGE_SCORES, detection
from pimjax.metrics.pooled import Pooled

Value = dict[str, float]  # "value", "low", "high", "images", "undefined"


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """Return one number per row, float64 [N]; NaN where it is undefined."""
    return np.array([math.nan if row[name] is None else row[name] for row in rows], float)


def summarize_dataset(
    rows: Sequence[Row], errors: Sequence[str], threshold: float = 0.5, maps: str = "as saved"
) -> dict[str, Any]:
    """Return what a dataset's rows say, ready for JSON (NaN is None). Intervals: 95 %, bootstrap over images.

    Args:
        rows: of scored images.
        errors: one for each other image.
        threshold: that the rows are of.
        maps: as of `pimjax.evaluation.caveats.caveats`.

    Returns:
        "scored", "of", "manipulated", "authentic" (images), "errors"; "scores": {convention: {metric: value}}, means
        over the images of which the convention defines the metric; "pooled" likewise; "pixel_fpr_authentic" (share of
        an authentic image's pixels above the threshold, mean); "image_level": {reduction: {metric: value}}; "warnings";
        "thresholded", whether all maps have two values, which leaves scores over all thresholds undefined. A value is
        {"value", "low", "high", "images", "undefined"}.
    """
    manipulated = np.array([row["manipulated"] for row in rows], bool)
    summary: dict[str, Any] = {
        "scored": len(rows),
        "of": len(rows) + len(errors),
        "manipulated": int(manipulated.sum()),
        "authentic": int((~manipulated).sum()),
        "threshold": threshold,
        "errors": list(errors),
    }
    if not rows:
        return summary | {"warnings": ["nothing was scored"]}
    summary["scores"] = {
        convention: {
            name.removeprefix(f"{convention}."): mean_value(column(rows, name))
            for name in rows[0]
            if name.rpartition(".")[0] == convention
        }
        for convention in CONVENTIONS
    }
    summary["pooled"] = _pooled_values(rows)
    false, right = (column([row for row in rows if not row["manipulated"]], name) for name in ("fp", "tn"))
    summary["pixel_fpr_authentic"] = mean_value(false / np.maximum(false + right, 1))
    summary["image_level"] = {
        reduction: _detection_values(rows, manipulated, reduction, threshold) for reduction in IMAGE_SCORES
    }
    summary["warnings"] = caveats(rows, errors, mean_value(column(rows, "benco.auc")), maps)
    summary["thresholded"] = is_thresholded(rows)
    return without_nan(without_curves(summary) if summary["thresholded"] else summary)


def mean_value(values: np.ndarray) -> Value:
    """Return the mean of the defined among `values` [N]."""
    defined = values[~np.isnan(values)]
    low, high = bootstrap_interval(defined)
    value = float(defined.mean()) if len(defined) else math.nan
    return {"value": value, "low": low, "high": high, "images": len(defined), "undefined": len(values) - len(defined)}


def _pooled_values(rows: Sequence[Row]) -> dict[str, Value]:
    # A row of counts and histogram is an image: a resampled set's are a weighted sum of them.
    counts = [[row[name] for name in ("tp", "fp", "fn", "tn")] for row in rows]
    together = np.hstack([counts, np.reshape([row["histogram"] for row in rows], (len(rows), -1))])

    def scores(weights: np.ndarray) -> dict[str, float]:
        sums = weights @ together
        return Pooled(sums[:4], sums[4:].reshape(2, -1)).scores()

    return _values(scores, len(rows))


def _detection_values(
    rows: Sequence[Row], manipulated: np.ndarray, reduction: str, threshold: float
) -> dict[str, Value]:
    scores = column(rows, f"image.{reduction}")

    def resampled(weights: np.ndarray) -> dict[str, float]:
        return detection(np.repeat(scores, weights), np.repeat(manipulated, weights), threshold)

    values = _values(resampled, len(rows))
    values["fpr"]["images"] = int((~manipulated).sum())
    return values


def _values(scores: Callable[[np.ndarray], dict[str, float]], images: int, resamples: int = 500) -> dict[str, Value]:
    """Return scores that are of all images together, with intervals; `scores` is given how often each image counts,
    [N].
    """
    rng = np.random.default_rng(0)
    drawn = [scores(weights) for weights in rng.multinomial(images, [1 / images] * images, resamples)]
    values = {}
    for name, value in scores(np.ones(images, int)).items():
        found = np.array([sample[name] for sample in drawn])
        low, high = np.nanpercentile(found, (2.5, 97.5)) if not np.isnan(found).all() else (math.nan, math.nan)
        of = 0 if math.isnan(value) else images
        values[name] = {"value": value, "low": float(low), "high": float(high), "images": of, "undefined": images - of}
    return values


def compare(first: Sequence[Row], second: Sequence[Row], name: str) -> dict[str, float]:
    """Return `paired_difference` of a column over the images that both have, as a dictionary."""
    others = {(row["number"], row["input"]): row for row in second}
    both = [(row, other) for row in first if (other := others.get((row["number"], row["input"])))]
    ours, theirs = ([pair[side] for pair in both] for side in (0, 1))
    return paired_difference(column(ours, name), column(theirs, name))._asdict()


def without_nan(value: Any) -> Any:
    """Return the same with None for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
