"""Many photos: read ahead, localized in batches, written while the next are computed, and resumed."""

import datetime
import functools
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pimjax.data.headers import MAX_PIXELS, ImageError, read_header
from pimjax.data.images import DecodedPhoto, decode_photo
from pimjax.inference.compared import takes_files
from pimjax.inference.inputs import Photo
from pimjax.inference.localizer import Localizer
from pimjax.inference.outputs import DETAILS, measure, output_path, refuse_foreign, write_outputs
from pimjax.inference.prefetch import grouped, prefetch
from pimjax.inference.row_keys import SCHEMA
from pimjax.inference.rows import Row, Rows, discard, is_whole, named_files
from pimjax.versions import versions

# What is held at a time in each stage (read, decoded, localized, written), but for one photo more: bytes, pixels.
MOST_BYTES, MOST_PIXELS = 64 << 20, 24_000_000
MOST_PHOTOS = 48  # that are looked at together, where a batch has room for several: those of one shape share it


class Found(NamedTuple):
    """A photo on its way: encoded, decoded, then localized; or why it cannot be used."""

    photo: Photo
    result: Any  # bytes, then a `DecodedPhoto`, then a `Localization`; or str, why it cannot be used
    pixels: int = 0
    orientation: int = 1  # EXIF, 1 … 8
    notes: tuple[str, ...] = ()  # on the file
    file: bytes = b""  # as it was encoded, where the model reads that too
    record: tuple[str, int, str] = ("", 0, "")  # of the file: SHA-256, bytes, format


@dataclass(frozen=True)
class OutputOptions:
    """What is to be made of every photo."""

    outputs: tuple[str, ...] = ("probability", "overlay")  # of `pimjax.inference.inputs.OUTPUTS`
    threshold: float = 0.5
    bits: int = 8  # of gray PNGs
    most_pixels: int = MAX_PIXELS  # of a photo; larger ones are not decoded


class BatchPredictor:
    """A folder of photos, or any number of them, and what became of each.

    Every photo gets a row in `rows_file`, a file of JSON lines, with the keys of `pimjax.inference.row_keys`; one that
    cannot be used says why in "error".

    `todo` are the photos that no such row is of: by the same model in the same precision, of the unchanged file, with
    all that was asked for still there. So what was broken off goes on, and unusable photos are tried again.
    """

    def __init__(
        self,
        localizer: Localizer,
        model: str,
        photos: Sequence[Photo],
        output: Path,
        rows_file: Path,
        rows: Rows,
        options: OutputOptions,
        command: str = "",
    ):
        """`rows` are those of this file and others, as of `read_results`; `model` is what they shall call the model.

        `command` is kept with every row.

        Raises:
            pimjax.files.ForeignFileError: results would replace files that pimjax did not write. Nothing is written.
        """
        self._localizer, self._model, self._options = localizer, model, options
        self._keeps_files = takes_files(localizer)
        self._output, self._rows_file, self._command = output, rows_file, command
        # As JSON gives it back.
        settings = {"outputs": list(options.outputs), "threshold": options.threshold, "bits": options.bits}
        self._settings = settings | {"precision": localizer.precision}
        self._ours = named_files(rows, output)
        here = rows.get(rows_file, {})
        not_here = [photo for photo in photos if not self._is_done(here.get(photo.absolute), photo)]
        elsewhere = [found for file, found in rows.items() if file != rows_file]
        self.todo = [
            photo
            for photo in not_here
            if not any(self._is_done(found.get(photo.absolute), photo) for found in elsewhere)
        ]
        places = (output_path(output / photo.name, kind) for photo in self.todo for kind in options.outputs)
        refuse_foreign(places, self._ours)
        discard(rows_file, {photo.absolute for photo in not_here})

    def _is_done(self, row: Row | None, photo: Photo) -> bool:
        return (
            row is not None
            and "error" not in row
            and is_whole(row, self._output)
            and row["model_sha256"] == self._localizer.hash
            and row["settings"] == self._settings
            and row["mtime"] == photo.mtime() != []
            and all((self._output / file).exists() for file in row["files"].values())
        )

    def run(self) -> Iterator[Row]:
        """Yield the rows of `todo`, each as soon as it and its files are written, in order.

        Raises:
            OSError: something cannot be written; what was yielded is kept.
        """
        batch = self._localizer.batch
        decode = functools.partial(_decode, most_pixels=self._options.most_pixels, keep=self._keeps_files)
        with ThreadPoolExecutor(2 + batch) as pool, self._rows_file.open("a", encoding="utf-8") as file:
            read = prefetch(pool, _read, self.todo, 2 * batch, _bytes, MOST_BYTES)
            decoded = prefetch(pool, decode, read, 2 * batch, _pixels, MOST_PIXELS)
            for row in prefetch(pool, self._write, self._localize(decoded), 1 + batch, _pixels, MOST_PIXELS):
                file.write(json.dumps(row) + "\n")
                file.flush()
                yield row

    def _localize(self, photos: Iterable[Found]) -> Iterator[Found]:
        together = 1 if self._localizer.batch == 1 else MOST_PHOTOS
        groups = grouped(photos, together, _pixels, MOST_PIXELS)
        while group := next(groups, None):
            yield from self._localize_group(group)
            del group  # before the next is decoded

    def _localize_group(self, group: list[Found]) -> Iterator[Found]:
        details = any(output in DETAILS for output in self._options.outputs)
        usable = [found for found in group if isinstance(found.result, DecodedPhoto)]
        images, turns = [found.result.pixels for found in usable], [found.orientation for found in usable]
        further: dict[str, Any] = {"files": [found.file for found in usable]} if self._keeps_files else {}
        results = iter(self._localizer.localize(images, details, turns, **further) if usable else ())
        for found in group:
            yield found._replace(result=next(results)) if isinstance(found.result, DecodedPhoto) else found

    def _write(self, found: Found) -> Row:
        photo, result, options = found.photo, found.result, self._options
        if not isinstance(result, str) and not math.isfinite(result.score):
            result = f"{photo.path}: the model gave NaN or infinity; its weights may be damaged, get them again"
        if isinstance(result, str):
            return {"schema": SCHEMA, "photo": photo.path, "path": photo.absolute, "error": result} | self._origin()
        where = self._output / photo.name
        files = write_outputs(
            result, where, options.outputs, options.threshold, options.bits, found.orientation, self._ours
        )
        sha256, size, form = found.record
        return {
            "schema": SCHEMA,
            "photo": photo.path,
            "path": photo.absolute,
            "name": photo.name,
            "sha256": sha256,
            "bytes": size,
            "format": form,
            **measure(result.probability, result.score, options.threshold),
            **({"notes": list(found.notes)} if found.notes else {}),
            "frame": "upright",
            "orientation": found.orientation,
            "model": self._model,
            "model_sha256": self._localizer.hash,
            "mtime": photo.mtime(),
            "settings": self._settings,
            "files": {kind: os.path.relpath(path, self._output) for kind, path in files.items()},
        } | self._origin()

    def _origin(self) -> Row:
        now = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
        return {"versions": versions(), "command": self._command, "time": now}


def _bytes(photo: Photo) -> int:
    return (photo.mtime() or [0])[0]


def _pixels(found: Found) -> int:
    return found.pixels


def _read(photo: Photo) -> Found:
    try:
        encoded = photo.read()
        header = read_header(encoded, photo.path)
    except ImageError as error:
        return Found(photo, str(error))
    record = hashlib.sha256(encoded).hexdigest(), len(encoded), header.format
    return Found(photo, encoded, header.width * header.height, record=record)


def _decode(found: Found, most_pixels: int, keep: bool) -> Found:
    """Return the photo decoded, and its file if that is to be kept; or why it cannot be used."""
    photo, encoded, pixels = found[:3]
    if isinstance(encoded, str):
        return found
    try:
        decoded = decode_photo(encoded, photo.path, most_pixels)
    except ImageError as error:
        return Found(photo, str(error))
    orientation = decoded.orientation if decoded.orientation in range(1, 9) else 1
    return Found(photo, decoded, pixels, orientation, decoded.notes, encoded if keep else b"", found.record)
