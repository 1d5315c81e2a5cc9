"""Many photos: read ahead, localised in batches, written while the next are computed, and resumed."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pimjax.data.images import DecodedPhoto, ImageError, decode_photo
from pimjax.files import read_rows
from pimjax.inference.localizer import Localization, Localizer
from pimjax.inference.outputs import DETAILS, measure, write_outputs
from pimjax.inference.photos import Photo

Row = dict[str, Any]
Localized = tuple[Photo, Localization | str, tuple[str, ...]]  # what was found, or why not; notes on the file
A, B = TypeVar("A"), TypeVar("B")


@dataclass(frozen=True)
class Wanted:
    """What is to be made of every photo."""

    outputs: tuple[str, ...] = ("probability", "overlay")  # of `pimjax.inference.photos.OUTPUTS`
    threshold: float = 0.5
    bits: int = 8  # of grey PNGs


class PhotoRun:
    """A folder of photos, or any number of them, and what became of each.

    Every photo gets a row in `rows_file`, a file of JSON lines: what `measure` says, and "photo" as it was given,
    "path" from anywhere, "name", "stamp" (bytes and time of the file), "model", "model_sha256", "wanted", "files", and
    "notes" where the file calls for some; one that cannot be used, "photo", "path" and "error".

    `todo` are the photos that no such row is of: by the same model in the same precision, of the unchanged file, with
    all that is wanted still there. So what was broken off goes on, and unusable photos are tried again.
    """

    def __init__(
        self,
        localizer: Localizer,
        model: str,
        photos: Sequence[Photo],
        output: Path,
        rows_file: Path,
        rows: dict[Path, dict[str, Row]],
        wanted: Wanted,
    ):
        """`rows` are those of this file and others, as of `read_results`; `model` is what they shall call the model."""
        self._localizer, self._model, self._wanted = localizer, model, wanted
        self._output, self._rows_file = output, rows_file
        # As JSON gives it back.
        self._told = vars(wanted) | {"outputs": list(wanted.outputs), "precision": localizer.precision}
        here = rows.get(rows_file, {})
        not_here = [photo for photo in photos if not self._is_done(here.get(photo.absolute), photo)]
        elsewhere = [found for file, found in rows.items() if file != rows_file]
        self.todo = [
            photo
            for photo in not_here
            if not any(self._is_done(found.get(photo.absolute), photo) for found in elsewhere)
        ]
        rows_file.parent.mkdir(parents=True, exist_ok=True)
        _discard(rows_file, {photo.absolute for photo in not_here})

    def _is_done(self, row: Row | None, photo: Photo) -> bool:
        return (
            row is not None
            and "error" not in row
            and row["model_sha256"] == self._localizer.hash
            and row["wanted"] == self._told
            and row["stamp"] == photo.stamp() != []
            and all((self._output / file).exists() for file in row["files"].values())
        )

    def run(self) -> Iterator[Row]:
        """The rows of `todo`, each as soon as it and its files are written, in order.

        Raises:
            OSError: something cannot be written; what was yielded is kept.
        """
        localizer = self._localizer
        with ThreadPoolExecutor(2 + localizer.batch) as pool, self._rows_file.open("a", encoding="utf-8") as file:
            read = _ahead(pool, _read, self.todo, 2 * localizer.batch)
            for row in _ahead(pool, self._write, self._localize(read), 1 + localizer.batch):
                file.write(json.dumps(row) + "\n")
                file.flush()
                yield row

    def _localize(self, photos: Iterable[tuple[Photo, DecodedPhoto | str]]) -> Iterator[Localized]:
        details = any(output in DETAILS for output in self._wanted.outputs)
        for group in _groups(photos, self._localizer.batch):
            decoded = [found for _, found in group if not isinstance(found, str)]
            images, turns = [found.pixels for found in decoded], [found.orientation for found in decoded]
            results = iter(self._localizer.localize(images, details, turns))
            for photo, found in group:
                yield (photo, found, ()) if isinstance(found, str) else (photo, next(results), found.notes)

    def _write(self, found: Localized) -> Row:
        photo, result, notes = found
        if isinstance(result, str):
            return {"photo": photo.path, "path": photo.absolute, "error": result}
        wanted = self._wanted
        files = write_outputs(result, self._output / photo.name, wanted.outputs, wanted.threshold, wanted.bits)
        return {
            "photo": photo.path,
            "path": photo.absolute,
            "name": photo.name,
            **measure(result.probability, result.score, wanted.threshold),
            **({"notes": list(notes)} if notes else {}),
            "model": self._model,
            "model_sha256": self._localizer.hash,
            "stamp": photo.stamp(),
            "wanted": self._told,
            "files": {kind: os.path.relpath(path, self._output) for kind, path in files.items()},
        }


def read_results(output: Path) -> dict[Path, dict[str, Row]]:
    """The rows of every shard's file in a folder of results, by the photo's absolute path, without "boxes".

    Raises:
        ValueError: a line other than the last of a file is damaged.
    """
    return {file: read_rows(file, "path", without="boxes")[0] for file in sorted(output.glob("predictions*.jsonl"))}


def _discard(file: Path, paths: set[str]) -> None:
    """Leaves whole rows of other photos: nobody who reads the file should find a photo in it twice."""
    new = file.with_name(file.name + ".new")
    file.touch()
    with file.open("rb") as rows, new.open("wb") as kept:
        kept.writelines(row for row in rows if row.endswith(b"\n") and json.loads(row)["path"] not in paths)
    os.replace(new, file)


def _read(photo: Photo) -> tuple[Photo, DecodedPhoto | str]:
    """The photo, or why it cannot be used."""
    try:
        return photo, decode_photo(photo.read(), photo.path)
    except ImageError as error:
        return photo, str(error)


def _ahead(pool: ThreadPoolExecutor, function: Callable[[A], B], items: Iterable[A], depth: int) -> Iterator[B]:
    """function(item) in order, computed by `pool` for up to `depth` items ahead of the one that is waited for."""
    waiting: deque[Future[B]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _groups(items: Iterable[A], size: int) -> Iterator[list[A]]:
    group: list[A] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
