"""The list files that accompany some sets: lines "image mask label", with "None" for no mask."""

from pathlib import Path
from typing import NamedTuple

from pimjax.data.labels import names_a_mask, read_label


class Line(NamedTuple):
    """A line of a list."""

    image: str  # a POSIX path, relative to what the list's author says; without a leading "./"
    mask: str | None


def read_list(path: Path) -> list[Line]:
    """Return the lines of a list. An image without a mask is authentic.

    Raises:
        ValueError: a line has not three columns, its label is unknown or contradicts its mask, or the file is not text.
    """
    try:
        rows = [row.split() for row in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8 ({error}); use the list as it is distributed") from None
    lines = []
    for number, row in enumerate(rows, 1):
        if len(row) not in (0, 3):
            raise ValueError(f"{path}, line {number}: {len(row)} columns instead of image, mask and label; correct it")
        if row:
            lines.append(_line(row, f"{path}, line {number}"))
    return lines


def _line(row: list[str], place: str) -> Line:
    image, mask = (name.removeprefix("./") for name in row[:2])
    line = Line(image, mask if names_a_mask(mask) else None)
    try:
        label = read_label(row[2])
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    if label is not None and label != (line.mask is not None):
        says, has = ("manipulated", "no mask") if label else ("authentic", f"the mask {mask}")
        raise ValueError(f"{place}: label {row[2]} ({says}), yet {has}; correct it")
    return line
