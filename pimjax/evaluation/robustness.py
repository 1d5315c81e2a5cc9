"""How scores fall as images are corrupted: predictors × datasets × corruptions × levels."""

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.data.sources import Example, Source
from pimjax.evaluation.benchmark import locked, safe
from pimjax.evaluation.corruption_levels import chosen_levels
from pimjax.evaluation.corruptions import CORRUPTIONS, encode_jpeg
from pimjax.evaluation.evaluate import evaluate, settings
from pimjax.evaluation.predictors import Predictor
from pimjax.evaluation.record import reserve, versions
from pimjax.evaluation.results import SCHEMA, ImageRow, Interval
from pimjax.evaluation.schema import ROBUSTNESS, read_state
from pimjax.evaluation.summary import column, mean_value
from pimjax.evaluation.tables import markdown, show
from pimjax.files import Row, claim, printable, write_text

SCORE = "pim-fullsize.f1"


def run_robustness(
    predictors: Sequence[Predictor],
    datasets: Mapping[str, Source],
    corruptions: Sequence[str],
    output: Path,
    threshold: float = 0.5,
    command: str = "",
    failed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Score every predictor on every dataset at every level of `corruptions`, going on where an earlier run stopped.

    Images are corrupted as they come from the source, before any resizing; masks stay. Noise depends on the image's
    number, the corruption and the level alone. Rows of images go to `output`/MODEL/DATASET/CORRUPTION_LEVEL.

    Args:
        predictors: who is scored.
        datasets: source by name.
        corruptions: keys of `CORRUPTIONS`, or such with levels: "jpeg=90,75".
        output: where everything is written, by one process at a time.
        threshold: a prediction strictly above it is positive.
        command: to be kept with the results.
        failed: why others could not take part, by name; to be kept likewise.

    Returns:
        what `output`/robustness.json holds: "rows", a mean for each level ("level" None: uncorrupted), and "areas", the
        mean over a corruption's span (trapezoids between levels), with the uncorrupted mean beside it; all of `SCORE`,
        with 95 % bootstrap intervals over images.

    Raises:
        ValueError: no such corruption or level; `output` holds the results of something else, or files that pimjax did
            not write; another process writes there.
    """
    chosen, file = chosen_levels(corruptions), output / "robustness.json"
    rows, areas, errors = [], [], {f"{name} did not take part: {why}" for name, why in (failed or {}).items()}
    with locked(output):
        if begun := os.path.lexists(file):
            read_state(file, ROBUSTNESS, "pimjax robustness")
        for suffix in (".json", ".png", ".svg"):
            claim(file.with_suffix(suffix), ours=begun)
        runs = [(predictor, name, *run) for name in datasets for predictor in predictors for run in _runs(chosen)]
        for predictor, name, about, _ in runs:
            reserve(_place(output, predictor, name, about), settings(predictor, threshold, about))
        found: dict[tuple[str, str, str | None], list[list[ImageRow]]] = {}
        for predictor, name, about, change in runs:
            place = _place(output, predictor, name, about)
            scored, lost = evaluate(predictor, datasets[name], place, threshold, change, False, about)
            errors.update(lost)
            corruption, level = about.get("corruption"), about.get("level")
            found.setdefault((predictor.name, name, corruption), []).append(scored)
            what = {
                "corruption": corruption,
                "parameter": CORRUPTIONS[corruption].unit if corruption else None,
                "level": level,
            }
            rows.append({"model": predictor.name, "dataset": name} | what | _level(scored, datasets[name]))
        for (model, name, corruption), levels in found.items():
            if corruption:
                (plain,) = found[model, name, None]
                areas.append(
                    {"model": model, "dataset": name, "corruption": corruption}
                    | area(chosen[corruption], levels, plain)
                )
        about = {"schema": SCHEMA, "command": command, "versions": versions(), "threshold": threshold, "score": SCORE}
        result = about | {"rows": rows, "areas": areas, "errors": sorted(errors)}
        write_text(file, json.dumps(result, indent=1) + "\n", ours=True)
    return result


Change = Callable[[Example, int], Example]


def _runs(chosen: Mapping[str, Sequence[float]]) -> Iterator[tuple[dict[str, Any], Change | None]]:
    """Return what tells the results of each level from others, and what is done to an example; first
    uncorrupted.
    """
    yield {}, None
    for corruption, levels in chosen.items():
        for level in levels:
            yield {"corruption": corruption, "level": level}, _corrupt(corruption, level)


def _place(output: Path, predictor: Predictor, name: str, about: Mapping[str, Any]) -> Path:
    level = f"{about['corruption']}_{about['level']:g}" if about else "uncorrupted"
    return output / safe(predictor.name) / safe(name) / level


def _level(rows: Sequence[ImageRow], source: Source) -> Row:
    return mean_value(column(rows, SCORE)).to_json() | {"scored": len(rows), "of": len(source)}


def _corrupt(corruption: str, level: float) -> Change:
    def change(example: Example, number: int) -> Example:
        # By the number, not by the file's path, which another user has elsewhere.
        rng = np.random.default_rng(zlib.crc32(f"{corruption} {level:g} {number}".encode()))
        image = CORRUPTIONS[corruption].apply(example["image"], level, rng)
        file = encode_jpeg(example["image"], int(level)) if corruption == "jpeg" else b""  # for who reads coefficients
        return example | {"image": image, "file": file}

    return change


def area(levels: Sequence[float], rows: Sequence[Sequence[ImageRow]], plain: Sequence[ImageRow]) -> Row:
    """Return the mean score over a corruption's span, with its interval, and the mean uncorrupted score.

    Args:
        levels: [L], different ones in any order.
        rows: the images' rows at each level; images that were not scored at every level are left out.
        plain: the uncorrupted rows.

    Returns:
        {"value", "low", "high", "images", "undefined", "uncorrupted"}.
    """
    by_number = [{row.number: row for row in found} for found in rows]
    everywhere = sorted(set.intersection(*map(set, by_number)))
    scores = np.array([column([found[number] for number in everywhere], SCORE) for found in by_number])
    order = np.argsort(levels)
    span = np.array(levels, float)[order]
    # Of one level alone, its score is the mean.
    means = np.trapezoid(scores[order], span, axis=0) / (span[-1] - span[0]) if len(span) > 1 else scores[0]
    return mean_value(means).to_json() | {"uncorrupted": mean_value(column(plain, SCORE)).to_json()["value"]}


def robustness_table(result: dict[str, Any]) -> str:
    """Return Markdown: a table per set and corruption, a row per level, a column per predictor; the last row is the
    area.
    """
    lines = []
    for name in dict.fromkeys(row["dataset"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["dataset"] == name]
        models = list(dict.fromkeys(row["model"] for row in rows))
        for corruption in dict.fromkeys(row["corruption"] for row in rows if row["corruption"]):
            some = [row for row in rows if row["corruption"] in (None, corruption)]
            areas = [row for row in result["areas"] if (row["dataset"], row["corruption"]) == (name, corruption)]
            parameter = next(row["parameter"] for row in some if row["parameter"])
            table = [[parameter, *models]]
            for level in dict.fromkeys(row["level"] for row in some):
                cells = {row["model"]: show_level(row) for row in some if row["level"] == level}
                table.append(["uncorrupted" if level is None else f"{level:g}", *(cells[model] for model in models)])
            table.append(["mean over the span", *(show(Interval.from_json(row), row["images"]) for row in areas)])
            lines.append(f"### {printable(name)}: {corruption}\n\n{markdown(table)}")
    note = f"Threshold {result['threshold']}; mean {SCORE} over the manipulated images, with 95 % bootstrap intervals."
    return "\n\n".join(
        [*lines, f"{note} n of m: so many images could be scored there; areas are of images scored everywhere.\n"]
    )


def show_level(row: dict[str, Any]) -> str:
    """Return a level's mean, with n of m where not all images could be scored."""
    scored, of = row.get("scored"), row.get("of")
    return show(Interval.from_json(row), row["images"]) + ("" if scored == of else f", {scored} of {of}")
