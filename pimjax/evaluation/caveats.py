"""What the scores of a dataset cannot vouch for: masks that look wrong, maps that are thresholded, images left out."""

import math
from collections.abc import Sequence

from pimjax.data_checks.checks import check_facts
from pimjax.data_checks.facts import Facts
from pimjax.evaluation.results import DatasetSummary, ImageRow, Interval

# Of maps of two values, a curve over all thresholds has one point: these scores depend on nothing the model said.
OF_CURVES = ("auc", "average_precision", "best_f1", "best_threshold", "equal_error_rate", "calibration_error")
_NOTE = (
    "its maps have two values only, so they are thresholded already: AUC, average precision, best F1, equal error rate "
    "and calibration error mean nothing and are left out"
)


def is_thresholded(rows: Sequence[ImageRow]) -> bool:
    """Tell whether all maps are of two values; of constant ones alone, nobody can say."""
    return max((row.map_values for row in rows), default=0) == 2


def without_curves(summary: DatasetSummary) -> DatasetSummary:
    """Return a summary whose scores over all thresholds are undefined.

    Of image scores, those of the largest value: the others grow with the marked area.
    """

    def cleared(scores: dict[str, Interval]) -> dict[str, Interval]:
        return {name: _undefined(value) if name in OF_CURVES else value for name, value in scores.items()}

    return summary._replace(
        scores={convention: cleared(scores) for convention, scores in summary.scores.items()},
        pooled=cleared(summary.pooled),
        image_level=summary.image_level | {"max": cleared(summary.image_level["max"])},
    )


def _undefined(value: Interval) -> Interval:
    return Interval(math.nan, math.nan, math.nan, 0, value.n + value.undefined)


def caveats(rows: Sequence[ImageRow], errors: Sequence[str], auc: Interval, maps: str = "as saved") -> list[str]:
    """Return warnings about a dataset's results, in words.

    Args:
        rows: of images that were scored.
        errors: one for each other image.
        auc: the mean pixel AUC, as of `pimjax.evaluation.summary.mean_value`.
        maps: "as saved" or "inverted" (by --invert) of maps in files; "" of a model's, to which no such hint applies.
    """
    found = []
    if errors:
        found.append(f"{len(errors)} of {len(rows) + len(errors)} images could not be scored; they are named")
    if is_thresholded(rows):
        found.append(_NOTE)
    found += mask_caveats(rows)
    if maps and auc.n >= 4 and auc.high < 0.5:
        what = "score them without --invert" if maps == "inverted" else "score them with --invert"
        found.append(
            f"the maps may be inverted: their mean pixel AUC is {auc.value:.3f}; if white means authentic in them, "
            f"{what}"
        )
    return found


def mask_caveats(rows: Sequence[ImageRow]) -> list[str]:
    """Return what `pimjax check-data` would say of the masks of scored images: kinds of doubt, an example of each."""
    facts = [_facts(row) for row in rows]
    masked = sum(fact.marked is not None for fact in facts)
    return [
        f"{len(finding.examples)} of {len(rows) if finding.kind == 'orientation' else masked} "
        f"{'images' if finding.kind == 'orientation' else 'masks'} ({finding.kind}): {finding.what}; such as "
        f"{finding.examples[0]}"
        for finding in check_facts(facts, max_unreadable=1)
    ]


def _facts(row: ImageRow) -> Facts:
    return Facts(
        row.number,
        row.id,
        orientation=row.orientation,
        marked=row.truly_marked if row.mask_format else None,
        gray=row.mask_gray,
        mask_format=row.mask_format,
        mask_size=(0, 0) if row.mask_scaled else None,
    )
