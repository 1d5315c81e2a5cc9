"""Reading what an earlier run wrote: it may be damaged, of another version, or something else of that name."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pimjax.aliases import EVALUATION, renamed
from pimjax.evaluation.results import SCHEMA, ImageRow
from pimjax.files import Row, read_rows
from pimjax.metrics.pooled import BINS


class Each(NamedTuple):
    """The shape of a JSON object of any keys whose values all have one shape."""

    value: Any


class Maybe(NamedTuple):
    """The shape of a value that may be null, or of a key that may be missing."""

    value: Any


NUMBER = (int, float)
_NULL = type(None)
_VALUE = {**dict.fromkeys(("value", "low", "high"), (*NUMBER, _NULL)), "images": int}
_SCORES = Each(_VALUE)
ABOUT = Each(object)  # about.json
BENCHMARK = {  # benchmark.json
    "commands": [str],
    "date": str,
    "versions": Each(str),
    "threshold": NUMBER,
    "models": Each(Each(object)),
    "datasets": Each({"source": str, "images": int}),
    "failed": Maybe(Each(str)),
}
SUMMARY = {  # scores.json
    **dict.fromkeys(("scored", "of", "manipulated", "authentic"), int),
    "threshold": NUMBER,
    "errors": [str],
    "warnings": [str],
    "scores": Maybe(Each(_SCORES)),
    "pooled": Maybe(_SCORES),
    "pixel_fpr_authentic": Maybe(_VALUE),
    "image_level": Maybe(Each(_SCORES)),
    "thresholded": Maybe(bool),
}
_MEAN = {"model": str, "dataset": str, **_VALUE}
ROBUSTNESS = {  # robustness.json
    "command": Maybe(str),
    "versions": Each(str),
    "threshold": NUMBER,
    "rows": [
        {**dict.fromkeys(("corruption", "parameter"), (str, _NULL)), "level": (*NUMBER, _NULL)}
        | {"scored": Maybe(int), "of": Maybe(int)}
        | _MEAN
    ],
    "areas": [{"corruption": str} | _MEAN],
    "errors": Maybe([str]),
}
_PIXELS = ("height", "width", "map_height", "map_width")
_BENCO = ("precision", "recall", "f1", "iou", "auc")
METRICS = {
    "pim": ("f1", "iou", "mcc", "accuracy"),
    "pim-fullsize": ("f1", "iou", "mcc", "auc"),
    **dict.fromkeys(("benco", "benco-reverse", "benco-double"), _BENCO),
    "permuted": ("f1", "best_f1"),
}
ROW = {  # of images.jsonl
    **dict.fromkeys(("number", *_PIXELS, "tp", "fp", "fn", "tn", "map_values", "orientation"), int),
    **dict.fromkeys(("id", "input", "version", "mask_format"), str),
    **dict.fromkeys(("seconds", "mask_gray", "image.max", "image.top1", "image.logit"), NUMBER),
    **{f"{convention}.{name}": (*NUMBER, _NULL) for convention, names in METRICS.items() for name in names},
    **dict.fromkeys(("manipulated", "mask_scaled"), bool),
    "histogram": [list],
    "picture": Maybe(str),
}
_PICTURE = re.compile(r"pictures/\d+\.jpg")


def read_state(file: Path, shape: Any, writer: str) -> Any:
    """Return the JSON of a file that `writer`, such as "pimjax evaluate", wrote.

    Raises:
        ValueError: the file is something else, or damaged; the message names it.
    """
    try:
        if not file.is_file():
            raise ValueError("no regular file")
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); correct the permissions") from None
    except (ValueError, RecursionError) as error:  # of JSON and of Unicode
        raise ValueError(_foreign(file, writer, str(error) if isinstance(error, ValueError) else "too deep")) from None
    content = _current(content)
    if isinstance(content, dict) and isinstance(number := content.get("schema", 1), int) and number > SCHEMA:
        raise ValueError(f"{file}: of schema {number}, this pimjax reads 1 to {SCHEMA}; update pimjax")
    if fault := fault_of(content, shape):
        raise ValueError(_foreign(file, writer, fault))
    return content


def _current(content: Any) -> Any:
    """Return JSON with the keys of its objects, and of those in its lists, as they are called now."""
    if not isinstance(content, dict):
        return content
    content = renamed(content, EVALUATION)
    for key, value in content.items():
        if key in ("rows", "areas") and isinstance(value, list):
            content[key] = [_current(item) for item in value]
        elif key == "image_level" and isinstance(value, dict):
            content[key] = {reduction: _current(scores) for reduction, scores in value.items()}
    return content


def _foreign(file: Path, writer: str, why: str) -> str:
    return f"{file}: not what {writer} writes ({why}); move it away and run {writer} again, or give another folder"


def fault_of(content: Any, shape: Any, where: str = "") -> str:
    """Return where JSON content departs from a shape, in words; "" where it has it.

    Args:
        content: as `json.loads` gives it.
        shape: a type or several; {key: shape}, to which content may add keys; [shape]; `Each`; `Maybe`.
        where: the keys that lead there, for the message.
    """
    if isinstance(shape, Maybe):
        return "" if content is None else fault_of(content, shape.value, where)
    if isinstance(shape, dict | Each):
        if not isinstance(content, Mapping):
            return f"{where or 'all of it'} should be an object"
        keys = dict.fromkeys(content, shape.value) if isinstance(shape, Each) else shape
        missing = [key for key, part in keys.items() if key not in content and not isinstance(part, Maybe)]
        if missing:
            return f"{where + ' ' if where else ''}lacks {missing[0]!r}"
        found = (fault_of(content.get(key), part, f"{where}.{key}".lstrip(".")) for key, part in keys.items())
        return next(filter(None, found), "")
    if isinstance(shape, list):
        if not isinstance(content, list):
            return f"{where} should be a list"
        return next(filter(None, (fault_of(part, shape[0], where) for part in content)), "")
    shown = type(content).__name__ if isinstance(content, list | dict) else repr(content)[:40]
    return "" if _is_a(content, shape) else f"{where} is {shown}"


def _is_a(content: Any, types: Any) -> bool:
    if isinstance(content, int | float) and types not in (bool, object):
        # JSON's true is no number, and what no double holds is none either.
        return isinstance(content, types) and not isinstance(content, bool) and abs(content) < 1e300
    return isinstance(content, types)


def row_fault(row: Row) -> str:
    """Return what a row of images.jsonl lacks or has wrong, "" of one as `pimjax.evaluation.evaluate` makes it."""
    if fault := fault_of(row, ROW):
        return fault
    if "picture" in row and not _PICTURE.fullmatch(str(row["picture"])):
        return f"picture is {row['picture']!r}"
    try:
        histogram = np.array(row["histogram"])
    except (ValueError, OverflowError):
        return "histogram has rows of different lengths"
    if histogram.shape != (2, BINS) or histogram.dtype.kind != "i":
        return f"histogram should be 2 × {BINS} whole numbers"
    if min(row["number"], *(row[key] for key in _PIXELS)) < 0 or not row["height"] * row["width"]:
        return "its number or a size is below zero, or nothing"
    others = [key for key in row if "." in key and key not in ROW]
    return f"{others[0]!r} is no score" if others else ""


def stored_rows(folder: Path, examples: int, writer: str) -> list[ImageRow]:
    """Return the rows of a dataset of so many examples that `writer` wrote to `folder`, in order.

    Raises:
        ValueError: they are not there, or damaged.
    """
    file = folder / "images.jsonl"
    if not file.is_file():
        raise ValueError(f"{file}: not there, or no file; run the same {writer} again")
    rows = {number: renamed(row, EVALUATION) for number, row in read_rows(file)[0].items()}
    for number, row in rows.items():
        if fault := row_fault(row):
            raise ValueError(f"{file}, number {number!r}: {fault}; run the same {writer} again, with this pimjax")
    return [ImageRow.from_json(rows[number]) for number in sorted(rows) if number < examples]
