"""What a plan's run leaves for people: tables as Markdown, LaTeX and CSV, curves, a page with a picture browser."""

import csv
import datetime
import io
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.evaluation.benchmark import read_results, safe
from pimjax.evaluation.plan import Plan
from pimjax.evaluation.plan_run import cost_file, open_datasets, tasks_of
from pimjax.evaluation.results import SCHEMA, DatasetResult, DatasetSummary, ImageRow, Interval
from pimjax.evaluation.robustness import SCORE, Found, level_rows, robustness_table
from pimjax.evaluation.schema import ABOUT, SUMMARY, read_state, stored_rows
from pimjax.evaluation.standings import Cell, Table, shown, standings
from pimjax.evaluation.tables import by_text, latex, markdown
from pimjax.evaluation.treatments import treatments_table
from pimjax.files import Row, claim, printable, write_text
from pimjax.metrics.bootstrap import Difference
from pimjax.terminal import say
from pimjax.versions import versions

WRITER = "pimjax benchmark"
FILES = ("benchmark.json", "robustness.json", "tables.md", "tables.tex", "tables.csv", "tables.json", "index.html")


def write_output(plan: Plan, failed: Mapping[str, str], command: str = "") -> list[Table]:
    """Write all that the scored images say together; return the tables.

    Args:
        plan: that was run.
        failed: why models could not take part, by name.
        command: to be kept with the results.
    """
    output = plan.output
    begun = os.path.lexists(output / "benchmark.json")
    for name in FILES:
        claim(output / name, ours=begun)
    datasets = open_datasets(plan)
    sizes = {name: len(source) for name, source in datasets.items()}
    # What an earlier run scored of a model that could not take part now would be another model's, or other settings'.
    taken = [entry.name for entry in plan.models if entry.name not in failed]
    models = [name for name in taken if _about_file(plan, name, plan.datasets[0].name).is_file()]
    about: dict[str, Any] = {
        "schema": SCHEMA,
        "commands": [command],
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "versions": versions(),
        "threshold": plan.config.threshold,
        "models": {name: _about(plan, name) for name in models},
        "datasets": {name: {"source": datasets[name].name, "images": size} for name, size in sizes.items()},
        "failed": dict(failed),
    }
    write_text(output / "benchmark.json", json.dumps(about, indent=1) + "\n", ours=True)
    _, results = read_results(output)
    costs = {name: json.loads(file.read_text()) for name in models if (file := cost_file(plan, name)).is_file()}
    tables = standings(plan, results, costs)
    found, lost = _corrupted_rows(plan, results, sizes)
    tables += _together(plan, found)
    lost |= {f"{name} did not take part: {why}" for name, why in failed.items()}
    corrupted = _robustness(plan, found, sizes, lost)
    doubts = not_vouched_for(results, failed)
    _write_tables(output, tables, doubts, corrupted)
    _write_page(plan, tables, results, doubts, corrupted, about)
    return tables


def _about_file(plan: Plan, model: str, dataset: str) -> Path:
    return plan.output / safe(model) / safe(dataset) / "about.json"


def _about(plan: Plan, model: str) -> dict[str, Any]:
    """Return what a model's results are of, without what all have in common."""
    about = read_state(_about_file(plan, model, plan.datasets[0].name), ABOUT, WRITER)
    return {key: value for key, value in about.items() if key not in ("threshold", "versions")}


def _corrupted_rows(plan: Plan, results: Sequence[DatasetResult], sizes: Mapping[str, int]) -> tuple[Found, set[str]]:
    """Return the rows of every level, and of the same datasets as they are; and an error for each lost image."""
    found: Found = {}
    errors: set[str] = set()
    plain: dict[tuple[str, str], list[ImageRow]] = {(result.model, result.dataset): result.rows for result in results}
    for model in dict.fromkeys(result.model for result in results):
        for task in tasks_of(plan, model):
            if task.about and (task.folder / "scores.json").is_file() and (model, task.dataset) in plain:
                found.setdefault((model, task.dataset, None, None), plain[model, task.dataset])
                rows = stored_rows(task.folder, sizes[task.dataset], WRITER)
                found[model, task.dataset, task.about["corruption"], task.about["level"]] = rows
                summary = DatasetSummary.from_json(read_state(task.folder / "scores.json", SUMMARY, WRITER))
                errors.update(summary.errors)
    return found, errors


def _together(plan: Plan, found: Found) -> list[Table]:
    table = treatments_table(plan, found)
    return [table] if any(cell.value is not None for row in table.rows for cell in row) else []


def _robustness(plan: Plan, found: Found, sizes: Mapping[str, int], errors: set[str]) -> dict[str, Any] | None:
    """Write robustness.json and the curves, as `pimjax robustness` has them; None without corruptions."""
    # Where nothing is manipulated, there is no curve.
    found = {key: rows for key, rows in found.items() if any(row.manipulated for row in found[(*key[:2], None, None)])}
    if not found:
        return None
    rows, areas = level_rows(found, sizes)
    about = {"schema": SCHEMA, "command": None, "versions": versions(), "threshold": plan.config.threshold}
    result = about | {"score": SCORE, "rows": rows, "areas": areas, "errors": sorted(errors)}
    write_text(plan.output / "robustness.json", json.dumps(result, indent=1) + "\n", ours=True)
    return result


def _write_tables(
    output: Path, tables: Sequence[Table], doubts: Sequence[str], corrupted: dict[str, Any] | None
) -> None:
    parts, tex = [], []
    for table in tables:
        rows = [table.header, *([_with_mark(shown(cell), cell.mark) for cell in row] for row in table.rows)]
        parts.append(f"### {printable(table.title)}\n\n{markdown(rows)}\n\n{table.note}\n")
        plain = [table.header, *([shown(cell) for cell in row] for row in table.rows)]
        tex.append(latex(plain, f"{table.title}. {table.note}", [[cell.mark for cell in row] for row in table.rows]))
    if corrupted:
        parts.append("## Corruptions\n\n" + robustness_table(corrupted))
    if doubts:
        parts.append("### Not vouched for\n\n" + "".join(f"- {printable(text)}\n" for text in doubts))
    write_text(output / "tables.md", "\n".join(parts), ours=True)
    write_text(output / "tables.tex", "\n".join(tex), ours=True)
    cells = list(itertools.chain.from_iterable(map(_long, tables)))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(cells[0]) if cells else ["table"])
    writer.writeheader()
    writer.writerows(cells)
    write_text(output / "tables.csv", text.getvalue(), ours=True)
    write_text(output / "tables.json", json.dumps({"schema": SCHEMA, "cells": cells}, indent=1) + "\n", ours=True)


def _with_mark(text: str, mark: str) -> str:
    begin, end = {"best": ("**", "**"), "second": ("<u>", "</u>"), "cited": ("*", "*")}.get(mark, ("", ""))
    return f"{begin}{text}{end}" if text != "–" else text


def _long(table: Table) -> list[Row]:
    """Return a row per value: its table, model and column, interval and count."""
    rows = []
    for row in table.rows:
        for column, cell in zip(table.header[1:], row[1:], strict=True):
            value = cell.value
            if value is None:
                continue
            numbers: dict[str, Any] = {"value": value, "low": None, "high": None, "images": None, "p": None}
            if isinstance(value, Interval):
                numbers |= {"value": value.value, "low": value.low, "high": value.high, "images": value.n}
            elif isinstance(value, Difference):
                numbers = {"value": value.mean, **value._asdict()}
                del numbers["mean"]
            rows.append({"table": table.title, "model": row[0].text, "column": column, **numbers, "mark": cell.mark})
    return rows


def not_vouched_for(results: Sequence[DatasetResult], failed: Mapping[str, str]) -> list[str]:
    """Return what the tables cannot vouch for: warnings, images that were not scored, models that did not take part."""
    texts = [f"{name} did not take part: {why}" for name, why in failed.items()]
    for name in dict.fromkeys(result.dataset for result in results):
        of = [result for result in results if result.dataset == name]
        for kind in ("warnings", "errors"):
            for text, models in by_text(of, kind).items():
                texts.append(f"{name}, {'all models' if len(models) == len(of) else ', '.join(models)}: {text}")
    return texts


def _write_page(
    plan: Plan,
    tables: Sequence[Table],
    results: Sequence[DatasetResult],
    doubts: Sequence[str],
    corrupted: dict[str, Any] | None,
    about: dict[str, Any],
) -> None:
    """Write index.html; it shows the pictures beside it, so it travels with its folder."""
    try:
        from pimjax.evaluation import plots
        from pimjax.evaluation.report import render
    except ValueError as error:
        say(f"no page: {error}")
        return
    figures = []
    if corrupted:
        rows = corrupted["rows"]
        for place, (name, corruption) in enumerate(
            dict.fromkeys((row["dataset"], row["corruption"]) for row in rows if row["corruption"])
        ):
            svg = plots.robustness_curves(rows, name, corruption, f"curve{place}")
            figures.append((f"{name}: {corruption}", svg))
    page = render(
        "plan.html",
        title=plan.file.stem,
        about=about,
        tables=[(table, [list(map(_seen, row)) for row in table.rows]) for table in tables],
        figures=figures,
        doubts=doubts,
        models=list(about["models"]),
        images=_images(results),
    )
    write_text(plan.output / "index.html", page, ours=True)


def _seen(cell: Cell) -> tuple[str, str, float | None]:
    """Return a cell's text, its mark, and what its column is sorted by."""
    value = cell.value
    number = value.mean if isinstance(value, Difference) else value.value if isinstance(value, Interval) else value
    return shown(cell), cell.mark, None if number is None or np.isnan(number) else float(number)


def _images(results: Sequence[DatasetResult]) -> list[Row]:
    """Return what the browser knows of every image: each model's F1, or the share marked of an authentic one."""
    found: dict[tuple[str, int], Row] = {}
    for result in results:
        for row in result.rows:
            what = {
                "dataset": result.dataset,
                "id": Path(row.id).name,
                "manipulated": row.manipulated,
                "of": {},
            }
            image = found.setdefault((result.dataset, row.number), what)
            value = row.scores[SCORE] if row.manipulated else row.marked
            picture = f"{safe(result.model)}/{safe(result.dataset)}/{row.picture}" if row.picture else ""
            image["of"][result.model] = [None if value is None else round(float(value), 4), picture]
    return list(found.values())
