"""The list files that accompany some sets: lines "image mask label", with "None" for no mask."""

from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """A line of a list."""

    image: str  # a POSIX path, relative to what the list's author says; without a leading "./"
    mask: str | None


def read_list(path: Path) -> list[Line]:
    """The lines of a list. The label is not read: an image without a mask is authentic.

    Raises:
        ValueError: a line has not three columns, or the file is not text.
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
            image, mask = (name.removeprefix("./") for name in row[:2])
            lines.append(Line(image, None if mask == "None" else mask))
    return lines
