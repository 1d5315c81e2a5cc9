"""What has been scored of one set, kept line by line, so that a run that was broken off goes on where it stopped."""

import csv
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

from pimjax.files import Row, read_rows, write_text


class Record:
    """The rows of one entrant on one set, in `folder`: about.json, images.jsonl, and images.csv when it is done."""

    def __init__(self, folder: Path, about: dict[str, Any]):
        """Opens a record, or begins it.

        Raises:
            ValueError: `folder` has the record of something else.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        about = json.loads(json.dumps(about))
        known = folder / "about.json"
        if known.exists():
            before = json.loads(known.read_text(encoding="utf-8"))
            if changed := sorted(key for key in before.keys() | about.keys() if before.get(key) != about.get(key)):
                was, is_ = (", ".join(f"{key} = {side.get(key)}" for key in changed) for side in (before, about))
                raise ValueError(f"{folder}: holds results for {was}; these are for {is_}: give another --output")
        else:
            write_text(known, json.dumps(about, indent=1) + "\n")
        self._file = folder / "images.jsonl"
        self.rows, whole = read_rows(self._file)
        if self._file.exists():
            os.truncate(self._file, whole)

    def add(self, row: Row) -> None:
        """Keeps a row, in place of another of the same "number". OSError, naming the file, if that fails."""
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OSError(f"{self._file}: {error.strerror}; make room and run the same command again") from None
        self.rows[row["number"]] = row

    def finish(self, examples: int) -> list[Row]:
        """Writes images.csv, the rows of a set of so many examples in order, and returns them."""
        self._file.touch()  # of an entrant that no image could be scored of, too
        rows = [self.rows[number] for number in sorted(self.rows) if number < examples]
        columns = [name for name in rows[0] if name != "histogram"] if rows else ["number", "id"]
        new = self.folder / "images.csv.new"
        with new.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:  # as file names are
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(new, self.folder / "images.csv")
        return rows


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    names = ("pimjax", "jax", "flax", "numpy", "opencv-python")
    found = {name: importlib.metadata.version(name) for name in names}
    return found | {"python": platform.python_version(), "machine": platform.machine()}
