"""All datasets of a plan together, as they are and under each corruption: forged images told from authentic ones."""

from collections.abc import Callable, Sequence

import numpy as np

from pimjax.evaluation.plan import Plan
from pimjax.evaluation.results import ImageRow, Interval
from pimjax.evaluation.robustness import Found
from pimjax.evaluation.standings import Cell, Table, marked
from pimjax.evaluation.summary import detection_values, marked_share, mean_value

AUC, ALARMS, PIXELS = "image AUC", "authentic images alarmed", "authentic pixels marked"


def treatments_table(plan: Plan, found: Found) -> Table:
    """Return a row per model, and for each treatment image AUC, alarms, and pixels marked on authentic images.

    Args:
        plan: that was run.
        found: images' rows by model, dataset, corruption and level, or None and None.
    """
    levels = dict.fromkeys(key[2:] for key in found)  # first those of images as they are
    measures: dict[str, Callable[[list[ImageRow]], Interval]] = {
        AUC: lambda rows: detection_values(rows, "max", plan.config.threshold)["auc"],
        ALARMS: lambda rows: detection_values(rows, "max", plan.config.threshold)["fpr"],
        PIXELS: lambda rows: mean_value(marked_share(rows)),
    }
    names = ["as they are" if corruption is None else f"{corruption} {level:g}" for corruption, level in levels]
    header = ["model", *(f"{name}: {measure}" for measure in measures for name in names)]
    rows = []
    for entry in plan.models:
        cells = [Cell(text=entry.name)]
        for measure in measures.values():
            for level in levels:
                together = [
                    row for key, some in found.items() if (key[0], key[2:]) == (entry.name, level) for row in some
                ]
                cells.append(Cell(measure(together) if _both(together) else None))
        rows.append(cells)
    marked(header, rows)
    note = (
        "The images of all datasets whose corruptions are measured, as one set. Image AUC: manipulated images told "
        "from authentic ones by the largest value of the map. Alarmed: authentic images whose largest value is above "
        "the threshold. Marked: mean share of an authentic image's pixels."
    )
    return Table("image level, all datasets together", note, header, rows)


def _both(rows: Sequence[ImageRow]) -> bool:
    """Return whether there are manipulated and authentic images."""
    return len(np.unique([row.manipulated for row in rows])) == 2
