"""The tables of a plan: models × datasets, averages and ranks with intervals, kinds, image level, cost."""

import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pimjax.evaluation.plan import Plan
from pimjax.evaluation.results import DatasetResult, Interval
from pimjax.evaluation.summary import column, compare, mean_value
from pimjax.evaluation.tables import show_difference
from pimjax.files import Row
from pimjax.metrics.bootstrap import Difference

RESAMPLES = 1000
LOWER_IS_BETTER = (
    "authentic pixels marked",
    "authentic images alarmed",
    "average rank",
    "seconds per image",
    "peak memory, MiB",
)


class Cell(NamedTuple):
    """What stands in one place of a table."""

    value: Interval | Difference | float | None = None
    text: str = ""  # instead of a value
    mark: str = ""  # "best", "second", "cited"


class Table(NamedTuple):
    """A table as it is rendered to Markdown, LaTeX, CSV and HTML."""

    title: str
    note: str  # what its numbers are, and what they are not
    header: list[str]
    rows: list[list[Cell]]  # the first of each is the model


By = dict[tuple[str, str], DatasetResult]  # results by model and dataset


def standings(plan: Plan, results: Sequence[DatasetResult], costs: Mapping[str, Row]) -> list[Table]:
    """Return the tables of a plan, those that nobody has a value for left out.

    Args:
        plan: what was measured.
        results: of its models on its datasets.
        costs: what cost.json says, by model.
    """
    by = {(result.model, result.dataset): result for result in results}
    tables = [score_table(plan, by, score) for score in plan.config.scores]
    tables += [versus_table(plan, by, plan.config.scores[0])]
    tables += [kinds_table(plan, by, name, plan.config.scores[0]) for name in _datasets(plan)]
    tables += [image_table(plan, by), cost_table(plan, by, costs)]
    return [table for table in tables if any(cell.value is not None for row in table.rows for cell in row[1:])]


def score_table(plan: Plan, by: By, score: str) -> Table:
    """Return the table that papers print: a score on every dataset, its average, the average rank; then what is cited.

    The average is over datasets, of means over images. Ranks compare the models that have a value on every dataset.
    Both intervals are bootstraps: in each draw every dataset's images are drawn again, the same for all models.
    """
    models = [entry.name for entry in plan.models]
    names = [name for name in _datasets(plan) if any(_known(by, model, name, score) for model in models)]
    averages, ranks = averages_and_ranks(by, models, names, score)
    rows = []
    for model in models:
        values = [_interval(by, model, name, score) for name in names]
        rows.append([Cell(text=model), *map(Cell, values), Cell(averages.get(model)), Cell(ranks.get(model))])
    header = ["model", *names, "average", "average rank"]
    marked(header, rows)
    for model in dict.fromkeys(cited.model for cited in plan.cited if cited.score == score):
        found = {c.dataset: c for c in plan.cited if (c.model, c.score) == (model, score)}
        sources = "; ".join(dict.fromkeys(cited.source for cited in found.values()))
        cells = [Cell(found[name].value if name in found else None, mark="cited") for name in names]
        rows.append([Cell(text=f"{model}, cited: {sources}", mark="cited"), *cells, Cell(), Cell()])
    note = (
        f"Mean {score} over images at threshold {plan.config.threshold:g}, in brackets 95 % bootstrap intervals over "
        "images. Average: of the datasets, each counting once. Average rank: of the models with a value on every "
        "dataset. Bold: best of a column, underlined: second; that says nothing of whether the difference is more than "
        "chance."
    )
    if len(rows) > len(models):
        note += " Cited numbers were not measured here and have no rank."
    return Table(score, note, header, rows)


def averages_and_ranks(
    by: By, models: Sequence[str], names: Sequence[str], score: str
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return each model's average over datasets, and its average rank among those that have a value on all."""
    complete = [model for model in models if names and all(_known(by, model, name, score) for name in names)]
    if len(names) < 2 or not complete:
        return {}, {}
    means = []  # [datasets] of [draws, models]; the first draw is the images as they are
    for place, name in enumerate(names):
        values = _aligned([by[model, name] for model in complete], score)
        rng = np.random.default_rng(place)
        weights = rng.multinomial(values.shape[1], [1 / values.shape[1]] * values.shape[1], RESAMPLES)
        weights = np.vstack([np.ones(values.shape[1], int), weights]).astype(float)
        defined = ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            means.append(weights @ np.where(defined, values, 0).T / (weights @ defined.T))
    stacked = np.stack(means)
    images = sum(by[complete[0], name].summary.scored for name in names)
    # Equal values share the mean of their ranks.
    above = (stacked[..., None, :] > stacked[..., :, None]).sum(-1)
    equal = (stacked[..., None, :] == stacked[..., :, None]).sum(-1)
    averages, ranks = stacked.mean(0), (above + (equal + 1) / 2).mean(0)
    return _intervals(complete, averages, images), _intervals(complete, ranks, images) if len(complete) > 1 else {}


def _intervals(models: Sequence[str], drawn: np.ndarray, images: int) -> dict[str, Interval]:
    low, high = np.nanpercentile(drawn[1:], (2.5, 97.5), axis=0)
    return {model: Interval(drawn[0, i], low[i], high[i], images) for i, model in enumerate(models)}


def _aligned(results: Sequence[DatasetResult], score: str) -> np.ndarray:
    """Return scores [models, images], NaN where a model has none of an image."""
    numbers = sorted({row.number for result in results for row in result.rows})
    values = np.full((len(results), len(numbers)), math.nan)
    place = {number: column for column, number in enumerate(numbers)}
    for i, result in enumerate(results):
        values[i, [place[row.number] for row in result.rows]] = column(result.rows, score)
    return values


def versus_table(plan: Plan, by: By, score: str) -> Table:
    """Return each model's difference to the chosen one, paired by image, per dataset."""
    versus = plan.config.versus
    names = [name for name in _datasets(plan) if _known(by, versus, name, score)]
    rows = []
    for model in (entry.name for entry in plan.models if entry.name != versus):
        cells = [Cell(text=model)]
        for name in names:
            both = _known(by, model, name, score)
            found = compare(by[model, name].rows, by[versus, name].rows, score) if both else None
            cells.append(Cell(found if found and found.images > 1 else None))
        rows.append(cells)
    note = (
        f"Difference in {score} to {versus}, mean over the images that both have, 95 % paired bootstrap interval, p of "
        "a two-sided sign-flip permutation test, not corrected for many comparisons."
    )
    return Table(f"{score} against {versus}", note, ["model", *names], rows)


def kinds_table(plan: Plan, by: By, name: str, score: str) -> Table:
    """Return a dataset's scores by kind of manipulation, as the plan tells kinds from images' names."""
    entry = next(entry for entry in plan.datasets if entry.name == name)
    kinds = dict(text.split("=", 1) for text in entry.kinds)
    rows = []
    for model in (entry.name for entry in plan.models):
        found = by[model, name].rows if (model, name) in by and kinds else []
        cells = []
        for pattern in kinds.values():
            some = [row for row in found if fnmatch.fnmatchcase(Path(row.id).name, pattern)]
            value = mean_value(column(some, score)) if some else None
            cells.append(Cell(value if value and value.known else None))
        rows.append([Cell(text=model), *cells])
    header = ["model", *kinds]
    marked(header, rows)
    patterns = ", ".join(f"{kind}: {pattern}" for kind, pattern in kinds.items())
    return Table(f"{name} by kind", f"Mean {score} of the images whose name matches ({patterns}).", header, rows)


def image_table(plan: Plan, by: By) -> Table:
    """Return how well a map's largest value tells manipulated images, and how much of authentic ones is marked."""
    columns: dict[str, Callable[[DatasetResult], Interval | None]] = {}
    for name in _datasets(plan):
        for title, path in (
            ("image AUC", ("image_level", "max", "auc")),
            ("balanced accuracy", ("image_level", "max", "balanced_accuracy")),
            ("authentic pixels marked", ("pixel_fpr_authentic",)),
        ):
            if any(result.summary.find(path) for (_, of), result in by.items() if of == name):
                columns[f"{name}: {title}"] = lambda result, path=path: result.summary.find(path)
    rows = []
    for model in (entry.name for entry in plan.models):
        cells = []
        for title, find in columns.items():
            result = by.get((model, title.rpartition(": ")[0]))
            cells.append(Cell(find(result) if result else None))
        rows.append([Cell(text=model), *cells])
    header = ["model", *columns]
    marked(header, rows)
    note = (
        "Image level: the largest value of the map is the image's score, at the same threshold. Authentic pixels "
        "marked: mean share of an authentic image's pixels above the threshold; lower is better."
    )
    return Table("image level and false alarms", note, header, rows)


def cost_table(plan: Plan, by: By, costs: Mapping[str, Row]) -> Table:
    """Return what each model costs, as measured in this run."""
    rows = []
    for model in (entry.name for entry in plan.models):
        cost = costs.get(model, {})
        seconds = [row.seconds for (of, _), result in by.items() if of == model for row in result.rows]
        network = [cost.get("parameters"), cost["operations"] / 1e9 if cost.get("operations") else None]
        measured = [float(np.median(seconds)) if seconds else None, cost.get("peak_memory_mib")]
        rows.append([Cell(text=model), *map(Cell, (*network, *measured)), Cell(text=cost.get("device", ""))])
    header = ["model", "parameters", "G operations", "seconds per image", "peak memory, MiB", "device"]
    note = (
        "Operations: for a photo of 512², a multiplication and an addition counted as two. Seconds: median over all "
        "images, decoding and compilation aside, on whatever else the machine did. Memory: of the model's process."
    )
    return Table("cost", note, header, rows)


def marked(header: Sequence[str], rows: Sequence[list[Cell]]) -> None:
    """Mark the best and the second of every column in place, if more than one model has a value."""
    for place, title in enumerate(header):
        sign = 1 if title.rpartition(": ")[2] in LOWER_IS_BETTER else -1
        values = {float(cell.value.value) for row in rows if isinstance((cell := row[place]).value, Interval)}
        if place and len(values) > 1:
            best, second = sorted(values, key=lambda value: sign * value)[:2]
            for row in rows:
                value = row[place].value
                if isinstance(value, Interval) and value.value in (best, second):
                    row[place] = row[place]._replace(mark="best" if value.value == best else "second")


def shown(cell: Cell) -> str:
    """Return a cell in words."""
    value = cell.value
    if isinstance(value, Difference):
        return show_difference(value, value.images)
    if isinstance(value, Interval):
        return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
    if value is None:
        return cell.text or "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if value < 1 or cell.mark else f"{value:,.1f}"


def _datasets(plan: Plan) -> list[str]:
    return [entry.name for entry in plan.datasets]


def _interval(by: By, model: str, name: str, score: str) -> Interval | None:
    result = by.get((model, name))
    return result.summary.find(("scores", *score.rsplit(".", 1))) if result else None


def _known(by: By, model: str, name: str, score: str) -> bool:
    return _interval(by, model, name, score) is not None
