"""Predictors × datasets: everything that `pimjax evaluate` writes, and reads again for `pimjax report`."""

import contextlib
import datetime
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pimjax.data.sources import Source
from pimjax.evaluation.evaluate import Change, evaluate, settings
from pimjax.evaluation.predictors import Predictor
from pimjax.evaluation.record import reserve
from pimjax.evaluation.results import SCHEMA, DatasetResult, DatasetSummary
from pimjax.evaluation.schema import BENCHMARK, SUMMARY, read_state, stored_rows
from pimjax.evaluation.summary import summarize_dataset
from pimjax.evaluation.tables import dataset_table, latex, markdown, warnings_of
from pimjax.files import claim, lock_file, printable, write_text
from pimjax.versions import versions

WRITER = "pimjax evaluate"  # in messages
_FILES = ("benchmark.json", "tables.md", "tables.tex")


def run_benchmark(
    predictors: Sequence[Predictor],
    datasets: Mapping[str, Source],
    output: Path,
    threshold: float = 0.5,
    command: str = "",
    failed: Mapping[str, str] | None = None,
) -> list[DatasetResult]:
    """Score every predictor on every dataset, going on where an earlier run stopped; other results in `output` stay.

    Written to `output`/MODEL/DATASET:
    images.jsonl, images.csv, scores.json, pictures; to `output`: tables.md, tables.tex,
    benchmark.json (commands, date, versions, order of models and datasets).

    Args:
        predictors: who is scored.
        datasets: source by name.
        output: where everything is written, by one process at a time.
        threshold: a prediction strictly above it is positive.
        command: to be kept with the results.
        failed: why others could not take part, by name; to be kept likewise.

    Returns:
        all results in `output`, this run's and earlier ones'.

    Raises:
        ValueError: `output` holds the results of something else under the same names, files that pimjax did not write,
            or another process writes there.
    """
    file = output / "benchmark.json"
    with locked(output):
        begun = os.path.lexists(file)
        before = {"commands": [], "models": {}, "datasets": {}, "threshold": threshold}
        before = read_state(file, BENCHMARK, WRITER) if begun else before
        if before["threshold"] != threshold:
            was = before["threshold"]
            raise ValueError(f"{file}: results at threshold {was}, not {threshold}; give another --output")
        for name in _FILES:
            claim(output / name, ours=begun)
        folders = {
            (predictor.name, name): output / safe(predictor.name) / safe(name)
            for predictor in predictors
            for name in datasets
        }
        for predictor in predictors:
            for name, source in datasets.items():
                reserve(folders[predictor.name, name], settings(predictor, threshold), len(source))
        if begun:
            read_results(output, without=folders)  # what the tables need besides must be sound before work begins
        hinted: set[str] = set()
        for name, source in datasets.items():
            for predictor in predictors:
                score_dataset(predictor, source, folders[predictor.name, name], threshold, hinted)
        about = {
            "schema": SCHEMA,
            "commands": list(dict.fromkeys([*before["commands"], command])),
            "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
            "versions": versions(),
            "threshold": threshold,
            "models": before["models"] | {predictor.name: predictor.about for predictor in predictors},
            "datasets": before["datasets"]
            | {name: {"source": source.name, "images": len(source)} for name, source in datasets.items()},
            "failed": dict(failed or {}),
        }
        write_text(file, json.dumps(about, indent=1) + "\n", ours=True)
        about, results = read_results(output)
        write_tables(results, output, about["failed"])
    return results


@contextlib.contextmanager
def locked(output: Path, reading: bool = False) -> Iterator[None]:
    """Keep other processes from writing results to `output` until the block ends.

    Whoever is only `reading` may do so where no lock can be written.

    Raises:
        ValueError: one does already.
    """
    taken = f"{output}: another pimjax evaluate or robustness writes there; wait for it, or give another --output"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock_file(output / ".evaluation.lock", taken))
        except OSError:
            if not reading:
                raise
        yield


def score_dataset(
    predictor: Predictor,
    source: Source,
    folder: Path,
    threshold: float,
    hinted: set[str],
    change: Change | None = None,
    about: Mapping[str, Any] | None = None,
) -> DatasetSummary:
    """Score one predictor on one dataset, and write its summary to `folder`/scores.json.

    Args:
        predictor: who is scored.
        source: the dataset.
        folder: for all that `evaluate` writes, too; no pictures are made of changed images.
        threshold: a prediction strictly above it is positive.
        hinted: who has been told that its maps look inverted, which once is enough.
        change: as of `evaluate`.
        about: as of `evaluate`.
    """
    rows, errors = evaluate(predictor, source, folder, threshold, change, change is None, dict(about or {}))
    inverted = predictor.about.get("inverted")
    maps = "" if inverted is None or predictor.name in hinted else "inverted" if inverted else "as saved"
    summary = summarize_dataset(rows, errors, threshold, maps)
    if any("may be inverted" in warning for warning in summary.warnings):
        hinted.add(predictor.name)
    write_text(folder / "scores.json", json.dumps(summary.to_json(), indent=1) + "\n", ours=True)
    return summary


def write_tables(results: Sequence[DatasetResult], output: Path, failed: Mapping[str, str] | None = None) -> None:
    """Write tables.md and tables.tex: a table per set, and below it what it cannot vouch for.

    Args:
        results: of all datasets.
        output: the folder.
        failed: why others could not take part, by name.
    """
    names = list(dict.fromkeys(result.dataset for result in results))
    of_dataset = {name: [result for result in results if result.dataset == name] for name in names}
    missing = [f"{name} did not take part: {why}" for name, why in (failed or {}).items()]
    note = ""
    if results:
        note = (
            f"Threshold {results[0].summary.threshold}. Means over images, in brackets 95 % bootstrap intervals "
            "over images, in parentheses how many images if not all; pooled F1, calibration error and image AUC are of "
            "all pixels or images together. Differences are paired by image: mean, 95 % paired bootstrap interval, p "
            "of a two-sided sign-flip permutation test, not corrected for many comparisons."
        )
    parts, tables = [], []
    for name, found in of_dataset.items():
        table, warnings = dataset_table(found), [*warnings_of(found), *missing]
        below = "".join(f"- {printable(warning)}\n" for warning in warnings)
        parts.append(
            f"### {printable(name)}\n\n{markdown(table)}\n" + (f"\nNot vouched for:\n\n{below}" if below else "")
        )
        tables.append(latex(table, " ".join([f"{name}. {note}", *(f"{warning}." for warning in warnings)])))
    write_text(output / "tables.md", "\n".join([*parts, f"{note}\n"]), ours=True)
    write_text(output / "tables.tex", "\n".join(tables), ours=True)


def read_results(output: Path, without: Collection[tuple[str, str]] = ()) -> tuple[dict[str, Any], list[DatasetResult]]:
    """Return what `run_benchmark` wrote: benchmark.json, and the results in its order, but some (model, set).

    Raises:
        FileNotFoundError: `output` is not the output of a finished `pimjax evaluate`.
        ValueError: a file there is damaged, or something else.
    """
    file = output / "benchmark.json"
    if not os.path.lexists(file):
        raise FileNotFoundError(f"{file}: not there; give the --output of a finished pimjax evaluate")
    about = read_state(file, BENCHMARK, WRITER)
    about["failed"] = about.get("failed") or {}
    results = []
    for name in about["datasets"]:
        for model in about["models"]:
            folder = output / safe(model) / safe(name)
            if (model, name) not in without and os.path.lexists(folder / "scores.json"):  # else other runs' datasets
                summary = DatasetSummary.from_json(read_state(folder / "scores.json", SUMMARY, WRITER))
                rows = stored_rows(folder, about["datasets"][name]["images"], WRITER)
                results.append(DatasetResult(model, name, summary, rows))
    return about, results


def safe(name: str) -> str:
    """Return a name as the name of a folder."""
    return re.sub(r"[^\w.+-]", "_", name).strip(".") or "_"
