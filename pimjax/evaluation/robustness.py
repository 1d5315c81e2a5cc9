"""How scores fall as images are disturbed: entrants × sets × protocols × levels."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.data.sources import Example, Source
from pimjax.evaluation.contest import safe
from pimjax.evaluation.entrants import Entrant
from pimjax.evaluation.evaluate import evaluate
from pimjax.evaluation.protocols import PROTOCOLS
from pimjax.evaluation.record import Row, versions
from pimjax.evaluation.summary import column, mean_value, without_nan
from pimjax.evaluation.tables import markdown, show
from pimjax.files import write_text

SCORE = "pim-fullsize.f1"


def run_robustness(
    entrants: Sequence[Entrant],
    sets: Mapping[str, Source],
    protocols: Sequence[str],
    output: Path,
    threshold: float = 0.5,
    command: str = "",
) -> dict[str, Any]:
    """Scores every entrant on every set at every level of `protocols`, going on where an earlier run stopped.

    Images are disturbed as they come from the source, before any resizing; masks stay. Noise depends on the image's
    number, the protocol and the level alone. Rows of images go to `output`/MODEL/SET/PROTOCOL_LEVEL.

    Args:
        entrants: who is scored.
        sets: source by name.
        protocols: keys of `PROTOCOLS`.
        output: where everything is written.
        threshold: a prediction strictly above it is positive.
        command: to be kept with the results.

    Returns:
        what `output`/robustness.json holds: "rows", a mean for each level ("level" None: undisturbed), and "areas", the
        mean over a protocol's span (trapezoids between levels), with the undisturbed mean beside it; all of `SCORE`,
        with 95 % bootstrap intervals over images.
    """
    rows, areas, errors, protocols = [], [], set(), list(dict.fromkeys(protocols))
    for name, source in sets.items():
        for entrant in entrants:
            folder = output / safe(entrant.name) / safe(name)
            who = {"model": entrant.name, "set": name}
            plain, failed = evaluate(entrant, source, folder / "undisturbed", threshold, pictures=False)
            errors.update(failed)
            undisturbed = {"protocol": None, "parameter": None, "level": None}
            rows.append(who | undisturbed | _level(plain, source))
            for protocol in protocols:
                levels = []
                for level in PROTOCOLS[protocol].levels:
                    place = folder / f"{protocol}_{level:g}"
                    about = {"protocol": protocol, "level": level}
                    change = _disturbance(protocol, level)
                    found, failed = evaluate(entrant, source, place, threshold, change, False, about)
                    errors.update(failed)
                    levels.append(found)
                    what = {"protocol": protocol, "parameter": PROTOCOLS[protocol].unit, "level": level}
                    rows.append(who | what | _level(found, source))
                areas.append(who | {"protocol": protocol} | area(PROTOCOLS[protocol].levels, levels, plain))
    about = {"command": command, "versions": versions(), "threshold": threshold, "score": SCORE}
    result = without_nan(about | {"rows": rows, "areas": areas, "errors": sorted(errors)})
    write_text(output / "robustness.json", json.dumps(result, indent=1) + "\n")
    return result


def _level(rows: Sequence[Row], source: Source) -> dict[str, float]:
    return mean_value(column(rows, SCORE)) | {"scored": len(rows), "of": len(source)}


def _disturbance(protocol: str, level: float) -> Callable[[Example, int], Example]:
    def change(example: Example, number: int) -> Example:
        # By the number, not by the file's path, which another user has elsewhere.
        rng = np.random.default_rng(zlib.crc32(f"{protocol} {level:g} {number}".encode()))
        return example | {"image": PROTOCOLS[protocol].apply(example["image"], level, rng)}

    return change


def area(levels: Sequence[float], rows: Sequence[Sequence[Row]], plain: Sequence[Row]) -> dict[str, float]:
    """The mean score over a protocol's span, with its interval, and the mean undisturbed score.

    Args:
        levels: [L], ascending or descending.
        rows: the images' rows at each level; images that were not scored at every level are left out.
        plain: the rows without disturbance.

    Returns:
        {"value", "low", "high", "images", "undefined", "undisturbed"}.
    """
    by_number = [{row["number"]: row for row in found} for found in rows]
    everywhere = sorted(set.intersection(*map(set, by_number)))
    scores = np.array([column([found[number] for number in everywhere], SCORE) for found in by_number])
    means = np.trapezoid(scores, levels, axis=0) / (levels[-1] - levels[0])
    return mean_value(means) | {"undisturbed": mean_value(column(plain, SCORE))["value"]}


def robustness_table(result: dict[str, Any]) -> str:
    """Markdown: a table per set and protocol, a row per level, a column per entrant; the last row is the area."""
    lines = []
    for name in dict.fromkeys(row["set"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["set"] == name]
        models = list(dict.fromkeys(row["model"] for row in rows))
        for protocol in dict.fromkeys(row["protocol"] for row in rows if row["protocol"]):
            some = [row for row in rows if row["protocol"] in (None, protocol)]
            areas = [row for row in result["areas"] if (row["set"], row["protocol"]) == (name, protocol)]
            parameter = next(row["parameter"] for row in some if row["parameter"])
            table = [[parameter, *models]]
            for level in dict.fromkeys(row["level"] for row in some):
                cells = {row["model"]: show_level(row) for row in some if row["level"] == level}
                table.append(["undisturbed" if level is None else f"{level:g}", *(cells[model] for model in models)])
            table.append(["mean over the span", *(show(row, row["images"]) for row in areas)])
            lines.append(f"### {name}: {protocol}\n\n{markdown(table)}")
    note = f"Threshold {result['threshold']}; mean {SCORE} over the manipulated images, with 95 % bootstrap intervals."
    return "\n\n".join(
        [*lines, f"{note} n of m: so many images could be scored there; areas are of images scored everywhere.\n"]
    )


def show_level(row: dict[str, Any]) -> str:
    """A level's mean, with n of m where not all images could be scored."""
    return show(row, row["images"]) + ("" if row["scored"] == row["of"] else f", {row['scored']} of {row['of']}")
