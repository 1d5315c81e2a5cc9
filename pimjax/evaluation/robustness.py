"""How scores fall as images are corrupted: predictors × datasets × corruptions × levels."""

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.data.sources import Example, Source
from pimjax.evaluation.benchmark import locked, safe
from pimjax.evaluation.corruption_levels import chosen_levels
from pimjax.evaluation.corruptions import CORRUPTIONS
from pimjax.evaluation.evaluate import Change, evaluate, settings
from pimjax.evaluation.predictors import Predictor
from pimjax.evaluation.record import reserve
from pimjax.evaluation.results import SCHEMA, ImageRow, Interval
from pimjax.evaluation.schema import ROBUSTNESS, read_state
from pimjax.evaluation.sent_again import decode
from pimjax.evaluation.summary import column, mean_value
from pimjax.evaluation.tables import markdown, show
from pimjax.files import Row, claim, printable, write_text
from pimjax.versions import versions

SCORE = "pim-fullsize.f1"
Found = dict[tuple[str, str, Any, Any], list[ImageRow]]  # by model, dataset, corruption and level, or None and None


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

    Images are corrupted as they come from the source, before any resizing; masks stay, but for "grid-shift". Noise
    depends on the image's number, the corruption and the level alone. Rows of images go to
    `output`/MODEL/DATASET/CORRUPTION_LEVEL.

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
    errors = {f"{name} did not take part: {why}" for name, why in (failed or {}).items()}
    with locked(output):
        if begun := os.path.lexists(file):
            read_state(file, ROBUSTNESS, "pimjax robustness")
        for suffix in (".json", ".png", ".svg"):
            claim(file.with_suffix(suffix), ours=begun)
        both = [(predictor, name) for name in datasets for predictor in predictors]
        runs = [(*who, *run) for who in both for run in corruption_runs(chosen)]
        for predictor, name, about, _ in runs:
            reserve(_place(output, predictor, name, about), settings(predictor, threshold, about))
        found: Found = {}
        for predictor, name, about, change in runs:
            place = _place(output, predictor, name, about)
            scored, lost = evaluate(predictor, datasets[name], place, threshold, change, False, about)
            errors.update(lost)
            found[predictor.name, name, about.get("corruption"), about.get("level")] = scored
        rows, areas = level_rows(found, {name: len(source) for name, source in datasets.items()})
        about = {"schema": SCHEMA, "command": command, "versions": versions(), "threshold": threshold, "score": SCORE}
        result = about | {"rows": rows, "areas": areas, "errors": sorted(errors)}
        write_text(file, json.dumps(result, indent=1) + "\n", ours=True)
    return result


def corruption_runs(chosen: Mapping[str, Sequence[float]]) -> Iterator[tuple[dict[str, Any], Change | None]]:
    """Return what tells the results of each level from others, and what is done to an example; first
    uncorrupted.
    """
    yield {}, None
    for corruption, levels in chosen.items():
        for level in levels:
            yield {"corruption": corruption, "level": level}, _corrupt(corruption, level)


def _place(output: Path, predictor: Predictor, name: str, about: Mapping[str, Any]) -> Path:
    return output / safe(predictor.name) / safe(name) / level_name(about)


def level_name(about: Mapping[str, Any]) -> str:
    """Return the folder of a level's rows."""
    return f"{about['corruption']}_{about['level']:g}" if about else "uncorrupted"


def level_rows(found: Found, sizes: Mapping[str, int]) -> tuple[list[Row], list[Row]]:
    """Return a mean for each level, and one over each corruption's span: "rows" and "areas" of `run_robustness`.

    Args:
        found: images' rows by model, dataset, corruption and level.
        sizes: how many images a dataset has.
    """
    rows = [
        {"model": model, "dataset": name, "corruption": corruption, "level": level}
        | {"parameter": CORRUPTIONS[corruption].unit if corruption else None}
        | mean_value(column(scored, SCORE)).to_json()
        | {"scored": len(scored), "of": sizes[name]}
        for (model, name, corruption, level), scored in found.items()
    ]
    areas = []
    for model, name, corruption in dict.fromkeys(key[:3] for key in found if key[2]):
        levels = {key[3]: scored for key, scored in found.items() if key[:3] == (model, name, corruption)}
        values = area(list(levels), list(levels.values()), found[model, name, None, None])
        areas.append({"model": model, "dataset": name, "corruption": corruption} | values)
    return rows, areas


def _corrupt(corruption: str, level: float) -> Change:
    def change(example: Example, number: int) -> Example:
        # By the number, not by the file's path, which another user has elsewhere.
        rng = np.random.default_rng(zlib.crc32(f"{corruption} {level:g} {number}".encode()))
        of, image, mask = CORRUPTIONS[corruption], example["image"], example["mask"]
        file = of.encode(image, level) if of.encode else b""
        changed = decode(file) if file else of.apply(image, level, rng)
        cut = int(level) if of.cuts else 0
        return example | {"image": changed, "mask": mask[cut:, cut:], "file": file}

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
