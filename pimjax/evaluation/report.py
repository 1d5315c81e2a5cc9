"""One HTML file that says what `pimjax evaluate` and `pimjax robustness` found; it needs nothing beside itself."""

import base64
import functools
import operator
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pimjax.evaluation import plots
from pimjax.evaluation.benchmark import locked, read_results, safe
from pimjax.evaluation.results import DatasetResult, ImageRow, Interval
from pimjax.evaluation.robustness import show_level
from pimjax.evaluation.schema import ROBUSTNESS, read_state
from pimjax.evaluation.summary import column, marked_share
from pimjax.evaluation.tables import COMPARED, by_text, dataset_table, is_compared, show
from pimjax.files import claim, write_text
from pimjax.metrics.pooled import Pooled

try:
    import jinja2
except ImportError:
    raise ValueError("a report needs jinja2: pip install 'pimjax[report]'") from None

EACH = 3  # best, median, worst images, and false alarms, of a model on a dataset
GAP = 4  # pixels between the cells of a strip, as `pimjax.evaluation.evaluate.write_strip` makes it


def write_report(evaluation: Path, target: Path, robustness: Path | None = None, command: str = "") -> None:
    """Write the report.

    Args:
        evaluation: the output folder of `pimjax.evaluation.benchmark.run_benchmark`.
        target: the HTML file.
        robustness: robustness.json of `pimjax.evaluation.robustness.run_robustness`, or its folder.
        command: what made the report, to stand in it.

    Raises:
        FileNotFoundError: one of the two is not there, or not finished.
        ValueError: one of the two is damaged or being written, or `target` is a file that pimjax did not write.
    """
    claim(target)
    if not os.path.lexists(evaluation / "benchmark.json"):  # where nothing is, no lock is left either
        read_results(evaluation)
    with locked(evaluation, reading=True):
        about, results = read_results(evaluation)
    corrupted = _read_robustness(robustness)
    names = list(dict.fromkeys(result.dataset for result in results))
    datasets = [
        _dataset(number, name, [result for result in results if result.dataset == name], evaluation)
        for number, name in enumerate(names)
    ]
    page = render(
        "report.html",
        about=about,
        datasets=datasets,
        compared=any(is_compared([r for r in results if r.dataset == name]) for name in names),
        robustness=corrupted,
        corruptions=_corruptions(corrupted) if corrupted else [],
        date=about["date"],
        commands=[text for text in (*about["commands"], (corrupted or {}).get("command"), command) if text],
    )
    write_text(target, page)


def render(template: str, **values: Any) -> str:
    """Return the page that a template beside this file makes of `values`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def _read_robustness(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    file = path / "robustness.json" if path.is_dir() else path
    if not os.path.lexists(file):
        raise FileNotFoundError(f"{file}: not there; give the --output of a finished pimjax robustness")
    return read_state(file, ROBUSTNESS, "pimjax robustness")


def _dataset(number: int, name: str, results: Sequence[DatasetResult], evaluation: Path) -> dict[str, Any]:
    """Return all that the page says of one dataset."""
    counts = {
        key: max(getattr(result.summary, key) for result in results) for key in ("of", "manipulated", "authentic")
    }
    ids = [row.id for result in results for row in result.rows]
    skip = os.path.commonprefix(ids).rfind("/") + 1  # noqa: RUF071 (ids need not be paths)
    return {
        "name": name,
        "counts": counts,
        "sentence": _in_words(results, counts),
        "table": list(zip(*dataset_table(results), strict=True)),  # a row per score: models are fewer
        "warnings": by_text(results, "warnings"),
        "errors": by_text(results, "errors"),
        "figures": _figures(results, f"set{number}"),
        "models": [_pictures(result, evaluation, skip) for result in results],
    }


def _in_words(results: Sequence[DatasetResult], counts: dict[str, int]) -> str:
    unscored = counts["of"] - counts["manipulated"] - counts["authentic"]
    kinds = (("manipulated", counts["manipulated"]), ("authentic", counts["authentic"]), ("not scored", unscored))
    listed = ", ".join(f"{many} {kind}" for kind, many in kinds if many)
    text = f"{counts['of']} image{'s' * (counts['of'] > 1)} ({listed}). "
    paths = (
        (("scores", *COMPARED.split(".")), max, "highest", "Mean F1 (pim-fullsize)"),
        (("pixel_fpr_authentic",), min, "lowest", "Share of authentic pixels marked"),
    )
    for path, choose, adjective, title in paths:
        found = ((result.model, result.summary.find(path)) for result in results)
        values = {model: value for model, value in found if value}
        if values:
            best = choose(values, key=lambda model: values[model].value)
            among = f"{adjective} for " if len(values) > 1 else ""
            text += f"{title}: {among}{best}, {show(values[best], values[best].n)}. "
    return text.strip()


def _figures(results: Sequence[DatasetResult], name: str) -> list[tuple[str, str, str]]:
    """Return title, explanation and SVG of each figure that there is something to show in."""
    f1 = {result.model: _defined([r for r in result.rows if r.manipulated], COMPARED) for result in results}
    marked = {result.model: marked_share(result.rows) for result in results}
    curves = {r.model: None if r.summary.thresholded else _pooled(r.rows) for r in results}  # which have none
    figures = []
    if any(map(len, f1.values())):
        text = (
            "How many manipulated images reach an F1 (pim-fullsize). Higher is better; the area under a line is the "
            "mean."
        )
        figures.append(("F1 of the images", text, plots.exceedance(f1, "F1, pim-fullsize", f"{name}-f1")))
        if any(curves.values()):
            text = (
                "Of all pixels together, as the threshold falls; a dot at the threshold in use; dashed: marking "
                "everything."
            )
            figures.append(("Precision and recall", text, plots.precision_recall(curves, f"{name}-pr")))
    if any(curves.values()):
        text = (
            "Of the pixels given a probability, how many are manipulated. On the dashed line probabilities are right; "
            "below it, fewer are manipulated than they say. Larger dots hold more pixels."
        )
        figures.append(("Reliability", text, plots.reliability_curves(curves, f"{name}-reliability")))
    if any(map(len, marked.values())):
        text = "How many authentic images have at least that share of their pixels marked. Lower is better."
        svg = plots.exceedance(marked, "share of the image marked", f"{name}-marked", logarithmic=True)
        figures.append(("False alarms on authentic images", text, svg))
    return figures


def _defined(rows: Sequence[ImageRow], name: str) -> np.ndarray:
    values = column(rows, name)
    return values[~np.isnan(values)]


def _pooled(rows: Sequence[ImageRow]) -> Pooled | None:
    if not rows:
        return None
    parts = (Pooled(np.array(row.confusion), np.array(row.histogram)) for row in rows)
    return functools.reduce(operator.add, parts)


def _pictures(result: DatasetResult, evaluation: Path, skip: int) -> dict[str, Any]:
    """Return a model's telling images on a dataset; `skip` characters of every id are left out."""
    folder = evaluation / safe(result.model) / safe(result.dataset)

    def pictures(label: str, rows: Iterable[ImageRow], text: str) -> list[dict[str, str]]:
        return [
            {
                "label": label,
                "id": row.id[skip:],
                "text": text.format(f1=row.scores[COMPARED], marked=row.marked, true=row.truly_marked),
                "uri": two_by_two(folder / row.picture) if row.picture else "",
            }
            for row in rows
        ]

    scored = sorted(
        (row for row in result.rows if row.scores[COMPARED] is not None), key=lambda row: -(row.scores[COMPARED] or 0)
    )
    text = "F1 {f1:.3f}; {true:.1%} of it manipulated, {marked:.1%} marked"
    parts = zip(("best", "median", "worst"), best_median_worst(scored), strict=True)
    authentic = [row for row in result.rows if not row.manipulated]
    alarms = sorted((row for row in authentic if row.confusion.fp), key=lambda row: -row.marked)
    return {
        "name": result.model,
        "telling": [picture for label, rows in parts for picture in pictures(label, rows, text)],
        "authentic": len(authentic),
        "alarmed": len(alarms),
        "alarms": pictures("authentic", alarms[:EACH], "{marked:.2%} marked"),
    }


def best_median_worst(ordered: Sequence[ImageRow]) -> list[list[ImageRow]]:
    """Return the first, middle and last `EACH` of rows in order, no row twice: of few, a third each."""
    if len(ordered) < 3 * EACH:
        return [[ordered[i] for i in part] for part in np.array_split(np.arange(len(ordered)), 3)]
    middle = (len(ordered) - EACH) // 2
    return [list(ordered[start : start + EACH]) for start in (0, middle, len(ordered) - EACH)]


def two_by_two(path: Path) -> str:
    """Return the strip of `pimjax.evaluation.evaluate.write_strip` as a data URI, two cells above two, to fit a phone.

    Empty if there is no such file.
    """
    strip = cv2.imread(str(path)) if path.is_file() else None
    if strip is None:
        return ""
    cell = (strip.shape[1] - 3 * GAP) // 4
    left, right = strip[:, : 2 * cell + GAP], strip[:, 2 * (cell + GAP) :]
    both = np.vstack([left, np.full((GAP, *left.shape[1:]), 255, np.uint8), right])
    encoded = cv2.imencode(".jpg", both, (cv2.IMWRITE_JPEG_QUALITY, 85))[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _corruptions(corrupted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return figures and areas of each dataset in robustness.json."""
    rows, areas = corrupted["rows"], corrupted["areas"]
    models, datasets, corruptions = (
        list(dict.fromkeys(row[key] for row in rows)) for key in ("model", "dataset", "corruption")
    )
    corruptions = [corruption for corruption in corruptions if corruption is not None]
    found = []
    for number, name in enumerate(datasets):
        figures = [
            (corruption, plots.robustness_curves(rows, name, corruption, f"robustness{number}-{place}"))
            for place, corruption in enumerate(corruptions)
        ]
        of = {(area["model"], area["corruption"]): area for area in areas if area["dataset"] == name}
        plain = {row["model"]: row for row in rows if row["dataset"] == name and row["level"] is None}
        table = [["mean F1", *models], ["uncorrupted", *(_show(plain.get(model)) for model in models)]]
        table += [[corruption, *(_show(of.get((model, corruption))) for model in models)] for corruption in corruptions]
        found.append({"dataset": name, "figures": figures, "table": table})
    return found


def _show(value: dict[str, Any] | None) -> str:
    if value is None:
        return "–"
    return show_level(value) if "of" in value else show(Interval.from_json(value), value["images"])
