"""Results as tables: Markdown, which a terminal shows as well, and LaTeX. Every number with its interval."""

import math
from collections.abc import Sequence

from pimjax.evaluation.results import DatasetResult, Interval
from pimjax.evaluation.summary import compare
from pimjax.files import printable
from pimjax.metrics.bootstrap import Difference

# Header, and where a summary has the value. The convention is part of the name.
COLUMNS = (
    ("F1, pim (128×128)", ("scores", "pim", "f1")),
    ("F1, pim-fullsize", ("scores", "pim-fullsize", "f1")),
    ("IoU, pim-fullsize", ("scores", "pim-fullsize", "iou")),
    ("MCC, pim-fullsize", ("scores", "pim-fullsize", "mcc")),
    ("pixel AUC, benco", ("scores", "benco", "auc")),
    ("F1, benco", ("scores", "benco", "f1")),
    ("best F1, permuted", ("scores", "permuted", "best_f1")),
    ("F1, pooled", ("pooled", "f1")),
    ("calibration error, pooled", ("pooled", "calibration_error")),
    ("image AUC, largest value", ("image_level", "max", "auc")),
    ("authentic pixels marked", ("pixel_fpr_authentic",)),
)
COMPARED = "pim-fullsize.f1"


def dataset_table(results: Sequence[DatasetResult]) -> list[list[str]]:
    """Return a header and a row per predictor for results on one dataset, without columns that nobody has a value for.

    The last column is the difference to the first predictor, paired by image: mean, 95 % interval, p.
    """
    columns = [(header, path) for header, path in COLUMNS if any(r.summary.find(path) for r in results)]
    header = ["model", "images", *(name for name, _ in columns)]
    if compared := is_compared(results):
        header.append(f"F1, pim-fullsize, against {results[0].model}")
    table = [header]
    for place, (model, _, summary, rows) in enumerate(results):
        cells = [model, f"{summary.scored}{f' of {summary.of}' if summary.errors else ''}"]
        cells += [show(summary.find(path), summary.scored) for _, path in columns]
        if compared:
            difference = compare(rows, results[0].rows, COMPARED)
            cells.append(show_difference(difference, summary.manipulated) if place else "")
        table.append(cells)
    return table


def is_compared(results: Sequence[DatasetResult]) -> bool:
    """Tell whether results on one dataset are compared with the first of them."""
    return len(results) > 1 and results[0].summary.find(("scores", *COMPARED.split("."))) is not None


def by_text(results: Sequence[DatasetResult], key: str) -> dict[str, list[str]]:
    """Return the models of each text in the list `key` ("warnings" or "errors") of the summaries."""
    found: dict[str, list[str]] = {}
    for result in results:
        for text in getattr(result.summary, key):
            found.setdefault(text, []).append(result.model)
    return found


def warnings_of(results: Sequence[DatasetResult]) -> list[str]:
    """Return the warnings of results on one dataset, with the models that they are of if that is not all."""
    found = by_text(results, "warnings").items()
    return [text if len(models) == len(results) > 1 else f"{', '.join(models)}: {text}" for text, models in found]


def show(value: Interval | None, images: int) -> str:
    """Return a value as "0.412 [0.380, 0.444]", with how many images it is of where that is not all."""
    if value is None or any(map(math.isnan, value[:3])):
        return "–"
    fewer = f" ({value.n})" if value.n != images else ""
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]{fewer}"


def show_difference(difference: Difference, images: int) -> str:
    """Return a paired difference as "+0.021 [+0.010, +0.032], p = 0.004", with how many images if that is not all."""
    mean, low, high, p, n = difference
    if n < 2:
        return "–"
    level = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}], {level}{f' ({n})' if n != images else ''}"


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Return header and rows as a Markdown table with aligned columns."""
    cells = [[printable(cell).replace("|", "\\|") for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


_TEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}", "<": "$<$", ">": "$>$"}
    | {"–": "--", "×": r"$\times$", "\\": r"\textbackslash{}"}
)


_MARKS = {"": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "cited": r"\textcolor{{gray}}{{{}}}"}


def latex(table: Sequence[Sequence[str]], caption: str, marks: Sequence[Sequence[str]] = ()) -> str:
    """Return header and rows as a LaTeX table (packages booktabs, graphicx; xcolor for what is cited).

    Args:
        table: header and rows.
        caption: of the table.
        marks: of the rows' cells: "", "best", "second" or "cited".
    """
    kinds = [[""] * len(table[0]), *(marks or [[""] * len(row) for row in table[1:]])]
    rows = [
        " & ".join(_MARKS[kind].format(printable(cell).translate(_TEX)) for cell, kind in zip(*both, strict=True))
        for both in zip(table, kinds, strict=True)
    ]
    body = " \\\\\n".join(rows[1:])
    columns = "l" + "r" * (len(table[0]) - 1)
    return (
        f"\\begin{{table}}\n\\caption{{{printable(caption).translate(_TEX)}}}\n\\resizebox{{\\linewidth}}{{!}}{{\\begin{{tabular}}{{{columns}}}\n"
        f"\\toprule\n{rows[0]} \\\\\n\\midrule\n{body} \\\\\n\\bottomrule\n\\end{{tabular}}}}\n\\end{{table}}\n"
    )
