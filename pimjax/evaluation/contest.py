"""Entrants × sets: everything that `pimjax evaluate` writes, and reads again for `pimjax report`."""

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pimjax.data.sources import Source
from pimjax.evaluation.entrants import Entrant
from pimjax.evaluation.evaluate import evaluate
from pimjax.evaluation.record import versions
from pimjax.evaluation.summary import summarize_set
from pimjax.evaluation.tables import Result, latex, markdown, set_table
from pimjax.files import read_rows, write_text


def run_benchmark(
    entrants: Sequence[Entrant],
    sets: Mapping[str, Source],
    output: Path,
    threshold: float = 0.5,
    command: str = "",
) -> list[Result]:
    """Scores every entrant on every set, going on where an earlier run stopped; other results in `output` stay.

    Written to `output`/MODEL/SET: images.jsonl, images.csv, scores.json, pictures; to `output`: tables.md, tables.tex,
    benchmark.json (commands, date, versions, order of models and sets).

    Returns:
        all results in `output`, this run's and earlier ones'.

    Raises:
        ValueError: `output` holds the results of something else under the same names.
    """
    file = output / "benchmark.json"
    before: dict[str, Any] = {"commands": [], "models": {}, "sets": {}, "threshold": threshold}
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
    if before["threshold"] != threshold:
        raise ValueError(f"{file}: results at threshold {before['threshold']}, not {threshold}; give another --output")
    for name, source in sets.items():
        for entrant in entrants:
            folder = output / safe(entrant.name) / safe(name)
            rows, errors = evaluate(entrant, source, folder, threshold)
            summary = summarize_set(rows, errors, threshold)
            write_text(folder / "scores.json", json.dumps(summary, indent=1) + "\n")
    about = {
        "commands": list(dict.fromkeys([*before["commands"], command])),
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "versions": versions(),
        "threshold": threshold,
        "models": before["models"] | {entrant.name: entrant.about for entrant in entrants},
        "sets": before["sets"]
        | {name: {"source": source.name, "images": len(source)} for name, source in sets.items()},
    }
    write_text(file, json.dumps(about, indent=1) + "\n")
    _, results = read_results(output)
    write_tables(results, output)
    return results


def write_tables(results: Sequence[Result], output: Path) -> None:
    """tables.md and tables.tex, a table per set."""
    names = list(dict.fromkeys(result.set for result in results))
    tables = {name: set_table([result for result in results if result.set == name]) for name in names}
    note = (
        f"Threshold {results[0].summary['threshold']}. Means over images, in brackets 95 % bootstrap intervals over "
        "images, in parentheses how many images if not all; pooled F1, calibration error and image AUC are of all "
        "pixels or images together. Differences are paired by image: mean, 95 % paired bootstrap interval, p of a "
        "two-sided sign-flip permutation test, not corrected for many comparisons."
    )
    text = "\n\n".join(f"### {name}\n\n{markdown(table)}" for name, table in tables.items()) + f"\n\n{note}\n"
    write_text(output / "tables.md", text)
    write_text(output / "tables.tex", "\n".join(latex(table, f"{name}. {note}") for name, table in tables.items()))


def read_results(output: Path) -> tuple[dict[str, Any], list[Result]]:
    """What `run_benchmark` wrote: benchmark.json, and the results in its order.

    Raises:
        FileNotFoundError: `output` is not the output of a finished `pimjax evaluate`.
    """
    file = output / "benchmark.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file}: not there; give the --output of a finished pimjax evaluate")
    about = json.loads(file.read_text(encoding="utf-8"))
    results = []
    for name in about["sets"]:
        for model in about["models"]:
            folder = output / safe(model) / safe(name)
            if not (folder / "scores.json").is_file():
                continue  # of another run, with other sets
            summary = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
            rows, _ = read_rows(folder / "images.jsonl")
            examples = about["sets"][name]["images"]
            results.append(Result(model, name, summary, [rows[n] for n in sorted(rows) if n < examples]))
    return about, results


def safe(name: str) -> str:
    """A name as the name of a folder."""
    return re.sub(r"[^\w.+-]", "_", name).strip(".") or "_"
