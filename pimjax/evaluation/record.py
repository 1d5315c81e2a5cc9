"""What has been scored of one dataset, kept line by line, so that a run that was broken off goes on where
it stopped.
"""

import csv
import io
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from pimjax.aliases import EVALUATION, renamed
from pimjax.evaluation.caveats import OF_CURVES, is_thresholded
from pimjax.evaluation.results import ImageRow
from pimjax.evaluation.schema import ABOUT, read_state, row_fault
from pimjax.files import ForeignFileError, cannot_write, claim, lock_file, read_rows, write_bytes, write_text

PICTURE = "pictures/{:06d}.jpg"  # of an image's number


class Record:
    """The rows of one predictor on one dataset, in `folder`: about.json, images.jsonl, and images.csv when it is done.

    A context: until its end, no other process writes there.
    """

    def __init__(self, folder: Path, about: dict[str, Any], pictures: int = 0):
        """Open a record, or begin it; arguments as of `reserve`. Faulty rows, such as another version's, are left out.

        Raises:
            ValueError: `folder` has the record of something else, or another process writes it.
        """
        reserve(folder, about, pictures)
        self.folder = folder
        path = folder / "images.jsonl"
        # The rows' own file is locked: whoever cuts off a broken line must be the only one who writes there.
        self._file = lock_file(path, f"{path}: another process writes it; wait for it, or give another --output")
        try:
            if not (folder / "about.json").exists():
                write_text(folder / "about.json", json.dumps(_stored(about), indent=1) + "\n")
            rows, whole = read_rows(path)
            os.truncate(path, whole)
        except BaseException:
            self._file.close()
            raise
        rows = {number: renamed(row, EVALUATION) for number, row in rows.items()}
        self.rows = {number: ImageRow.from_json(row) for number, row in rows.items() if not row_fault(row)}

    def __enter__(self) -> "Record":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, row: ImageRow) -> None:
        """Keep a row, in place of another of the same number. OSError, naming the file, if that fails."""
        try:
            self._file.write(json.dumps(row.to_json()) + "\n")
            self._file.flush()
        except OSError as error:
            raise cannot_write(self.folder / "images.jsonl", error) from None
        self.rows[row.number] = row

    def finish(self, examples: int) -> list[ImageRow]:
        """Write images.csv, the rows of a dataset of so many examples in order, and return them.

        Scores over all thresholds are left empty there if all maps are thresholded.
        """
        rows = [self.rows[number] for number in sorted(self.rows) if number < examples]
        written = [row.to_json() for row in rows]
        columns = [name for name in written[0] if name != "histogram"] if rows else ["number", "id"]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, extrasaction="ignore")
        writer.writeheader()
        empty = {name: None for name in columns if name.rpartition(".")[2] in OF_CURVES} if is_thresholded(rows) else {}
        writer.writerows(row | empty for row in written)
        write_bytes(self.folder / "images.csv", text.getvalue().encode("utf-8", "surrogateescape"), ours=True)
        return rows


def reserve(folder: Path, about: dict[str, Any], pictures: int = 0) -> None:
    """Raise ValueError if a record cannot be written to `folder`: what lies there is of something else, or not ours.

    Args:
        folder: which need not exist.
        about: what tells the record from others.
        pictures: how many images may have one.
    """
    known = folder / "about.json"
    if begun := os.path.lexists(known):
        before, now = read_state(known, ABOUT, "pimjax evaluate"), _stored(about)
        if changed := sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key)):
            was, is_ = (", ".join(f"{key} = {side.get(key)}" for key in changed) for side in (before, now))
            raise ValueError(f"{folder}: holds results for {was}; these are for {is_}: give another --output")
    rows = folder / "images.jsonl"
    empty = not os.path.lexists(rows) or (rows.is_file() and not rows.stat().st_size)
    if rows.is_symlink() or not (empty or (begun and rows.is_file())):
        raise ForeignFileError(f"{rows}: exists and is not of a record; move it away, or give another --output")
    for name in ("images.csv", "scores.json", *map(PICTURE.format, range(pictures))):
        claim(folder / name, ours=begun)


def _stored(about: dict[str, Any]) -> dict[str, Any]:
    """Return a value as JSON gives it back."""
    return json.loads(json.dumps(about))
