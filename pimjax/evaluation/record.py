"""What has been scored of one set, kept line by line, so that a run that was broken off goes on where it stopped."""

import csv
import json
import os
from pathlib import Path
from typing import Any

Row = dict[str, Any]


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
        self.rows: dict[int, Row] = {}  # by number in the set
        if self._file.exists():
            self._read()

    def _read(self) -> None:
        whole = 0
        with self._file.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break  # cut off by a kill or a full disk
                row = json.loads(line)
                self.rows[row["number"]] = row
                whole += len(line)
        os.truncate(self._file, whole)

    def add(self, row: Row) -> None:
        """Keeps a row, whose "number" is new."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows[row["number"]] = row

    def finish(self) -> list[Row]:
        """Writes images.csv, all rows in order, and returns them."""
        self._file.touch()  # of an entrant that no image could be scored of, too
        rows = [self.rows[number] for number in sorted(self.rows)]
        columns = [name for name in rows[0] if name != "histogram"] if rows else ["number", "id"]
        new = self.folder / "images.csv.new"
        with new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(new, self.folder / "images.csv")
        return rows


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)
