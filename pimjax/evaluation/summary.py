"""From the rows of a dataset to what is said of it: means with intervals, counts of what they are of, warnings."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from pimjax.evaluation.caveats import caveats, is_thresholded, without_curves
from pimjax.evaluation.results import DatasetSummary, ImageRow, Interval
from pimjax.metrics.bootstrap import Difference, bootstrap_interval, paired_difference
from pimjax.metrics.conventions import CONVENTIONS, IMAGE_SCORES, detection
from pimjax.metrics.pooled import Pooled


def column(rows: Sequence[ImageRow], name: str) -> np.ndarray:
    """Return one score per row, float64 [N]; NaN where it is undefined."""
    scores = (row.scores[name] for row in rows)
    return np.array([math.nan if score is None else score for score in scores], float)


def summarize_dataset(
    rows: Sequence[ImageRow], errors: Sequence[str], threshold: float = 0.5, maps: str = "as saved"
) -> DatasetSummary:
    """Return what a dataset's rows say together. Intervals: 95 %, bootstrap over images.

    Args:
        rows: of scored images.
        errors: one for each other image.
        threshold: that the rows are of.
        maps: as of `pimjax.evaluation.caveats.caveats`.
    """
    manipulated = np.array([row.manipulated for row in rows], bool)
    counts = len(rows), len(rows) + len(errors), int(manipulated.sum()), int((~manipulated).sum())
    if not rows:
        return DatasetSummary(*counts, threshold, list(errors), ["nothing was scored"])
    scores = {
        convention: {
            name.removeprefix(f"{convention}."): mean_value(column(rows, name))
            for name in rows[0].scores
            if name.rpartition(".")[0] == convention
        }
        for convention in CONVENTIONS
    }
    summary = DatasetSummary(
        *counts,
        threshold,
        list(errors),
        caveats(rows, errors, scores["benco"]["auc"], maps),
        scores,
        _pooled_values(rows),
        mean_value(marked_share(rows)),
        {reduction: detection_values(rows, reduction, threshold) for reduction in IMAGE_SCORES},
        is_thresholded(rows),
    )
    return without_curves(summary) if summary.thresholded else summary


def marked_share(rows: Sequence[ImageRow]) -> np.ndarray:
    """Return the share of pixels above the threshold of each authentic image of `rows`, float64 [authentic images]."""
    return np.array(
        [row.confusion.fp / max(row.confusion.fp + row.confusion.tn, 1) for row in rows if not row.manipulated]
    )


def mean_value(values: np.ndarray) -> Interval:
    """Return the mean of the defined among `values` [N]."""
    defined = values[~np.isnan(values)]
    low, high = bootstrap_interval(defined)
    value = float(defined.mean()) if len(defined) else math.nan
    return Interval(value, low, high, len(defined), len(values) - len(defined))


def _pooled_values(rows: Sequence[ImageRow]) -> dict[str, Interval]:
    # A row of counts and histogram is an image: a resampled set's are a weighted sum of them.
    together = np.hstack(
        [[row.confusion for row in rows], np.reshape([row.histogram for row in rows], (len(rows), -1))]
    )

    def scores(weights: np.ndarray) -> dict[str, float]:
        sums = weights @ together
        return Pooled(sums[:4], sums[4:].reshape(2, -1)).scores()

    return _values(scores, len(rows))


def detection_values(rows: Sequence[ImageRow], reduction: str, threshold: float) -> dict[str, Interval]:
    """Return how well an image score, one of `IMAGE_SCORES`, tells manipulated images from authentic ones."""
    manipulated = np.array([row.manipulated for row in rows], bool)
    scores = column(rows, f"image.{reduction}")

    def resampled(weights: np.ndarray) -> dict[str, float]:
        return detection(np.repeat(scores, weights), np.repeat(manipulated, weights), threshold)

    values = _values(resampled, len(rows))
    return values | {"fpr": values["fpr"]._replace(n=int((~manipulated).sum()))}


def _values(scores: Callable[[np.ndarray], dict[str, float]], images: int, resamples: int = 500) -> dict[str, Interval]:
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
        values[name] = Interval(value, float(low), float(high), of, images - of)
    return values


def compare(first: Sequence[ImageRow], second: Sequence[ImageRow], name: str) -> Difference:
    """Return `paired_difference` of a column over the images that both have."""
    others = {(row.number, row.input): row for row in second}
    both = [(row, other) for row in first if (other := others.get((row.number, row.input)))]
    ours, theirs = ([pair[side] for pair in both] for side in (0, 1))
    return paired_difference(column(ours, name), column(theirs, name))
