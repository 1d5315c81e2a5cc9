"""The figures of a report, by matplotlib: SVG to put into a page; legible without color."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.files import atomic_path
from pimjax.metrics.pooled import Pooled, reliability

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError:
    raise ValueError("figures need matplotlib: pip install 'pimjax[report]'") from None

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, and found by a search in the page
    "svg.hashsalt": "pimjax",
    "text.parse_math": False,  # a $ in a model's name is a $
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
}
# Okabe and Ito's colors without yellow; with the dashes, no two of the first 35 models look alike.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
WIDTH, HEIGHT = 4.2, 2.9  # inches, of axes with their labels

Rows = Sequence[Mapping[str, Any]]


def exceedance(values: Mapping[str, np.ndarray], label: str, name: str, logarithmic: bool = False) -> str:
    """Plot the share of images whose value is at least x, for every x in 0..1; the area under a line is the mean.

    Args:
        values: per model, one value in 0..1 per image, [N] without NaN.
        label: what the values are.
        name: unique in the page; starts all ids in the SVG.
        logarithmic: whether x runs by powers of ten, from 1e-4.

    Returns:
        SVG.
    """
    grid = np.geomspace(1e-4, 1, 201) if logarithmic else np.linspace(0, 1, 201)

    def draw(axes: Axes, style: dict[str, Any], found: np.ndarray) -> Any:
        return axes.plot(grid, (found >= grid[:, None]).mean(1), **style)[0]

    def frame(axes: Axes) -> None:
        axes.set(xlabel=label, ylabel="share of images with at least that", ylim=(0, 1.02), xlim=(0, 1.01))
        if logarithmic:
            axes.set(xscale="log", xlim=(1e-4, 1.05))
            axes.set_xticks([1e-4, 1e-3, 1e-2, 0.1, 1], ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
            axes.minorticks_off()

    return _lines(values, draw, frame, name)


def precision_recall(pooled: Mapping[str, Pooled | None], name: str) -> str:
    """Plot precision over recall of all pixels, a dot at the threshold; dashed gray: marking everything.

    `name` and the SVG as for `exceedance`.
    """

    def draw(axes: Axes, style: dict[str, Any], found: Pooled) -> Any:
        tp, fp, fn, _ = found.confusion
        over = found.curve()
        marked = np.maximum(over.tp + over.fp, 1)
        seen = over.tp + over.fp > 0
        if tp + fp:
            axes.plot(tp / max(tp + fn, 1), tp / (tp + fp), "o", color=style["color"], markersize=5)
        axes.axhline(over.tp[-1] / marked[-1], color="#888888", linestyle="--", linewidth=0.8)
        return axes.plot((over.tp / max(over.tp[-1], 1))[seen], (over.tp / marked)[seen], **style)[0]

    def frame(axes: Axes) -> None:
        axes.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1.02), ylim=(-0.01, 1.02))

    return _lines(pooled, draw, frame, name)


def reliability_curves(pooled: Mapping[str, Pooled | None], name: str) -> str:
    """Plot the share of manipulated pixels by predicted probability, in 15 bins; a larger dot holds more pixels.

    `name` and the SVG as for `exceedance`.
    """

    def draw(axes: Axes, style: dict[str, Any], found: Pooled) -> Any:
        predicted, positive, pixels = reliability(found.histogram)
        seen = pixels > 0
        size = 3 + 70 * np.sqrt(pixels[seen] / pixels.sum())
        axes.scatter(predicted[seen], positive[seen], size, color=style["color"], linewidths=0)
        return axes.plot(predicted[seen], positive[seen], **style)[0]

    def frame(axes: Axes) -> None:
        axes.plot((0, 1), (0, 1), color="#888888", linestyle="--", linewidth=0.8)
        axes.set(xlabel="predicted probability", ylabel="share manipulated", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    return _lines(pooled, draw, frame, name)


@matplotlib.rc_context(STYLE)
def robustness_curves(rows: Rows, dataset: str, corruption: str, name: str) -> str:
    """Plot the mean score by level with its interval for all models of `rows`; a thin line is the uncorrupted mean.

    Args:
        rows: "rows" of robustness.json (`pimjax.evaluation.robustness.run_robustness`).
        dataset: which set.
        corruption: which corruption.
        name: as for `exceedance`.

    Returns:
        SVG.
    """
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure = Figure((WIDTH, HEIGHT + _legend_height(models)), layout="constrained")
    _legend(figure, _draw_levels(figure.subplots(), rows, models, dataset, corruption))
    return _svg(figure, name)


@matplotlib.rc_context(STYLE)
def save_robustness(rows: Rows, stem: Path, ours: bool = False) -> None:
    """Write `stem`.png (200 dpi) and `stem`.svg: as `robustness_curves`, a row per dataset, a column per corruption.

    `ours`, and what is raised where a file is in the way, as of `pimjax.files.write_bytes`.
    """
    models, datasets, corruptions = (
        list(dict.fromkeys(row[key] for row in rows)) for key in ("model", "dataset", "corruption")
    )
    corruptions = [corruption for corruption in corruptions if corruption is not None]
    size = WIDTH * len(corruptions), HEIGHT * len(datasets) + _legend_height(models)
    figure = Figure(size, layout="constrained")
    handles = {}
    for line, dataset in zip(figure.subplots(len(datasets), len(corruptions), squeeze=False), datasets, strict=True):
        for axes, corruption in zip(line, corruptions, strict=True):
            handles = _draw_levels(axes, rows, models, dataset, corruption)
            axes.set_title(f"{dataset}: {corruption}")
    _legend(figure, handles)
    for suffix in (".png", ".svg"):
        with atomic_path(stem.with_name(stem.name + suffix), ours) as path:
            figure.savefig(path, dpi=200)


def _draw_levels(axes: Axes, rows: Rows, models: Sequence[str], dataset: str, corruption: str) -> dict[str, Any]:
    """Draw one corruption on one dataset; return a line per model for the legend."""
    handles = {}
    for place, model in enumerate(models):
        of_model = [row for row in rows if (row["model"], row["dataset"]) == (model, dataset)]
        found = [row for row in of_model if row["corruption"] == corruption and row["level"] is not None]
        level, value, low, high = (np.array([row[key] for row in found], float) for key in _COLUMNS)  # None: NaN
        style = _style(place)
        handles[model] = axes.plot(level, value, marker=".", **style)[0]
        axes.fill_between(level, low, high, color=style["color"], alpha=0.12, linewidth=0)
        for row in of_model:
            if row["level"] is None and row["corruption"] in (None, corruption) and row["value"] is not None:
                axes.axhline(row["value"], color=style["color"], linewidth=0.7, linestyle=style["linestyle"])
    some = [row for row in rows if row["corruption"] == corruption and row["level"] is not None]
    levels = sorted({row["level"] for row in some})
    if len(levels) <= 12:
        axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.set(xlabel=some[0]["parameter"] if some else corruption, ylabel="F1, pim-fullsize")
    axes.set_ylim(bottom=0)
    return handles


_COLUMNS = ("level", "value", "low", "high")


@matplotlib.rc_context(STYLE)
def _lines(values: Mapping[str, Any], draw: Callable[..., Any], frame: Callable[[Axes], None], name: str) -> str:
    """Draw a line per model that has values; the others keep their place: a model looks the same in all figures."""
    there = {model: (place, found) for place, (model, found) in enumerate(values.items()) if _any(found)}
    figure = Figure((WIDTH, HEIGHT + _legend_height(there)), layout="constrained")
    axes = figure.subplots()
    handles = {model: draw(axes, _style(place), found) for model, (place, found) in there.items()}
    frame(axes)
    _legend(figure, handles)
    return _svg(figure, name)


def _any(values: np.ndarray | Pooled | None) -> bool:
    return values is not None and (isinstance(values, Pooled) or len(values) > 0)


def _style(place: int) -> dict[str, Any]:
    return {"color": COLORS[place % 7], "linestyle": DASHES[place % 5], "linewidth": 1.6}


def _legend_columns(models: Sequence[str] | Mapping[str, Any]) -> int:
    return 2 if max(map(len, models), default=0) <= 22 else 1


def _legend_height(models: Sequence[str] | Mapping[str, Any]) -> float:
    return 0.19 * -(-len(models) // _legend_columns(models))


def _legend(figure: Figure, handles: Mapping[str, Any]) -> None:
    columns = _legend_columns(handles)
    place = {"loc": "outside lower center", "frameon": False, "ncols": columns, "handlelength": 3.2}
    figure.legend(list(handles.values()), list(handles), borderaxespad=0, **place)


def _svg(figure: Figure, name: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Every figure of matplotlib's has the same ids; two in a page would use each other's parts.
    return re.sub(r"<[^>]*>", lambda tag: re.sub(r'(\bid="|url\(#|href="#)', rf"\g<0>{name}-", tag[0]), text)
