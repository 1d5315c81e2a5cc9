"""How sure a mean over images is, and a difference of two."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000


def bootstrap_interval(values: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean of `values` [N], images drawn with replacement; NaN of none."""
    values = np.asarray(values, float)
    if not len(values):
        return float("nan"), float("nan")
    rng, means = np.random.default_rng(seed), []
    for many in _chunks(resamples, len(values)):
        means.append(values[rng.integers(0, len(values), (many, len(values)))].mean(1))
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return float(low), float(high)


class Difference(NamedTuple):
    """Of two models on the same images: the first's mean score minus the second's."""

    mean: float
    low: float  # 95 % interval by the paired bootstrap
    high: float
    p: float  # two-sided, by random swaps of the two models' scores of an image
    images: int  # of which both scores are defined


def paired_difference(first: np.ndarray, second: np.ndarray, seed: int = 0, resamples: int = 10_000) -> Difference:
    """Compare scores [N] of the same N images; an image that one of them has no score of (NaN) is left out.

    The p-value is of the sign-flip permutation test with the observed arrangement counted, (1 + k)/(1 + resamples), so
    it is never 0.
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    difference = difference[~np.isnan(difference)]
    if not len(difference):
        nan = float("nan")
        return Difference(nan, nan, nan, nan, 0)
    mean = difference.mean()
    rng, extreme = np.random.default_rng(seed), 0
    for many in _chunks(resamples, len(difference)):
        signs = 1.0 - 2 * rng.integers(0, 2, (many, len(difference)), np.int8)
        # A hair's breadth below: the same sum in another order is as extreme.
        extreme += np.count_nonzero(np.abs(signs @ difference) / len(difference) >= abs(mean) * (1 - 1e-12))
    p = (1 + extreme) / (1 + resamples)
    return Difference(float(mean), *bootstrap_interval(difference, seed), float(p), len(difference))


def _chunks(resamples: int, images: int) -> Iterator[int]:
    """Yield how many resamples to draw at a time, for some ten million numbers each."""
    most = max(1, 10_000_000 // images)
    while resamples:
        yield (many := min(most, resamples))
        resamples -= many
