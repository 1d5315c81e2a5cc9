"""How fast maps are scored, on one core."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pimjax.metrics.conventions import score
from pimjax.metrics.curves import roc_auc

SIDE = 1024  # of a map, in pixels


def measure_scoring(repeats: int = 15) -> list[dict[str, Any]]:
    """Measure maps of 1024² float32 probabilities per second, medians: thresholds alone, with AUC, from 8 bits."""
    rng = np.random.default_rng(0)
    truth = np.zeros((SIDE, SIDE), bool)
    truth[SIDE // 4 : SIDE // 2, SIDE // 4 : SIDE // 2] = True
    map_ = np.clip(rng.normal(0.3 + 0.2 * truth, 0.2), 0, 1).astype(np.float32)
    ways: dict[str, Callable[[], Any]] = {
        "pim (threshold only)": lambda: score(map_, truth),
        "pim and AUC, exact": lambda: (score(map_, truth), roc_auc(map_, truth)),
        "pim-fullsize (8 bits, with AUC)": lambda: score(map_, truth, "pim-fullsize"),
        "permuted (best threshold)": lambda: score(map_, truth, "permuted"),
    }
    return [{"scores": name, "maps_per_second": 1 / _seconds(work, repeats)} for name, work in ways.items()]


def _seconds(work: Callable[[], Any], repeats: int) -> float:
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def scoring_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows of `measure_scoring` as Markdown."""
    lines = ["| scores of a 1024² map | maps/s on one core |", "|---|---|"]
    return "\n".join([*lines, *(f"| {row['scores']} | {row['maps_per_second']:.0f} |" for row in rows)])
