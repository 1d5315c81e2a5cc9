"""How scores fall as images are disturbed: entrants × sets × protocols × levels."""

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.data.sources import Example, Source
from pimjax.evaluation.contest import locked, safe
from pimjax.evaluation.corruption_levels import chosen_levels
from pimjax.evaluation.entrants import Entrant
from pimjax.evaluation.evaluate import evaluate, told
from pimjax.evaluation.protocols import PROTOCOLS
from pimjax.evaluation.record import reserve, versions
from pimjax.evaluation.state import ROBUSTNESS, read_state
from pimjax.evaluation.summary import column, mean_value, without_nan
from pimjax.evaluation.tables import markdown, show
from pimjax.files import Row, claim, printable, write_text

SCORE = "pim-fullsize.f1"


def run_robustness(
    entrants: Sequence[Entrant],
    sets: Mapping[str, Source],
    protocols: Sequence[str],
    output: Path,
    threshold: float = 0.5,
    command: str = "",
    failed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Score every entrant on every set at every level of `protocols`, going on where an earlier run stopped.

    Images are disturbed as they come from the source, before any resizing; masks stay. Noise depends on the image's
    number, the protocol and the level alone. Rows of images go to `output`/MODEL/SET/PROTOCOL_LEVEL.

    Args:
        entrants: who is scored.
        sets: source by name.
        protocols: keys of `PROTOCOLS`, or such with levels: "jpeg=90,75".
        output: where everything is written, by one process at a time.
        threshold: a prediction strictly above it is positive.
        command: to be kept with the results.
        failed: why others could not take part, by name; to be kept likewise.

    Returns:
        what `output`/robustness.json holds: "rows", a mean for each level ("level" None: undisturbed), and "areas", the
        mean over a protocol's span (trapezoids between levels), with the undisturbed mean beside it; all of `SCORE`,
        with 95 % bootstrap intervals over images.

    Raises:
        ValueError: no such protocol or level; `output` holds the results of something else, or files that pimjax did
            not write; another process writes there.
    """
    chosen, file = chosen_levels(protocols), output / "robustness.json"
    rows, areas, errors = [], [], {f"{name} did not take part: {why}" for name, why in (failed or {}).items()}
    with locked(output):
        if begun := os.path.lexists(file):
            read_state(file, ROBUSTNESS, "pimjax robustness")
        for suffix in (".json", ".png", ".svg"):
            claim(file.with_suffix(suffix), ours=begun)
        runs = [(entrant, name, *run) for name in sets for entrant in entrants for run in _runs(chosen)]
        for entrant, name, about, _ in runs:
            reserve(_place(output, entrant, name, about), told(entrant, threshold, about))
        found: dict[tuple[str, str, str | None], list[list[Row]]] = {}
        for entrant, name, about, change in runs:
            place = _place(output, entrant, name, about)
            scored, lost = evaluate(entrant, sets[name], place, threshold, change, False, about)
            errors.update(lost)
            protocol, level = about.get("protocol"), about.get("level")
            found.setdefault((entrant.name, name, protocol), []).append(scored)
            what = {"protocol": protocol, "parameter": PROTOCOLS[protocol].unit if protocol else None, "level": level}
            rows.append({"model": entrant.name, "set": name} | what | _level(scored, sets[name]))
        for (model, name, protocol), levels in found.items():
            if protocol:
                (plain,) = found[model, name, None]
                areas.append(
                    {"model": model, "set": name, "protocol": protocol} | area(chosen[protocol], levels, plain)
                )
        about = {"command": command, "versions": versions(), "threshold": threshold, "score": SCORE}
        result = without_nan(about | {"rows": rows, "areas": areas, "errors": sorted(errors)})
        write_text(file, json.dumps(result, indent=1) + "\n", ours=True)
    return result


Change = Callable[[Example, int], Example]


def _runs(chosen: Mapping[str, Sequence[float]]) -> Iterator[tuple[dict[str, Any], Change | None]]:
    """What tells the results of each level from others, and what is done to an example; first without disturbance."""
    yield {}, None
    for protocol, levels in chosen.items():
        for level in levels:
            yield {"protocol": protocol, "level": level}, _disturbance(protocol, level)


def _place(output: Path, entrant: Entrant, name: str, about: Mapping[str, Any]) -> Path:
    level = f"{about['protocol']}_{about['level']:g}" if about else "undisturbed"
    return output / safe(entrant.name) / safe(name) / level


def _level(rows: Sequence[Row], source: Source) -> dict[str, float]:
    return mean_value(column(rows, SCORE)) | {"scored": len(rows), "of": len(source)}


def _disturbance(protocol: str, level: float) -> Change:
    def change(example: Example, number: int) -> Example:
        # By the number, not by the file's path, which another user has elsewhere.
        rng = np.random.default_rng(zlib.crc32(f"{protocol} {level:g} {number}".encode()))
        return example | {"image": PROTOCOLS[protocol].apply(example["image"], level, rng)}

    return change


def area(levels: Sequence[float], rows: Sequence[Sequence[Row]], plain: Sequence[Row]) -> dict[str, float]:
    """The mean score over a protocol's span, with its interval, and the mean undisturbed score.

    Args:
        levels: [L], different ones in any order.
        rows: the images' rows at each level; images that were not scored at every level are left out.
        plain: the rows without disturbance.

    Returns:
        {"value", "low", "high", "images", "undefined", "undisturbed"}.
    """
    by_number = [{row["number"]: row for row in found} for found in rows]
    everywhere = sorted(set.intersection(*map(set, by_number)))
    scores = np.array([column([found[number] for number in everywhere], SCORE) for found in by_number])
    order = np.argsort(levels)
    span = np.array(levels, float)[order]
    # Of one level alone, its score is the mean.
    means = np.trapezoid(scores[order], span, axis=0) / (span[-1] - span[0]) if len(span) > 1 else scores[0]
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
            lines.append(f"### {printable(name)}: {protocol}\n\n{markdown(table)}")
    note = f"Threshold {result['threshold']}; mean {SCORE} over the manipulated images, with 95 % bootstrap intervals."
    return "\n\n".join(
        [*lines, f"{note} n of m: so many images could be scored there; areas are of images scored everywhere.\n"]
    )


def show_level(row: dict[str, Any]) -> str:
    """A level's mean, with n of m where not all images could be scored."""
    scored, of = row.get("scored"), row.get("of")
    return show(row, row["images"]) + ("" if scored == of else f", {scored} of {of}")
