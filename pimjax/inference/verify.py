"""Whether photos and results still are what predictions.jsonl says: files hashed again, one by one."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pimjax.aliases import ROW, renamed
from pimjax.files import read_rows
from pimjax.inference.inputs import STDIN
from pimjax.inference.rows import Row, is_inside

SAME, CHANGED, MISSING, UNKNOWN = "same", "changed", "missing", "unknown"
_PIECE = 1 << 20  # bytes read at a time


class Verdict(NamedTuple):
    """What became of one photo."""

    photo: str
    state: str  # SAME, CHANGED, MISSING, or UNKNOWN: nothing to compare with
    why: str = ""


def verify_rows(file: Path) -> Iterator[Verdict]:
    """Yield a verdict for every row of predictions.jsonl: of its photo, then of its result files if one is gone.

    A photo that is no more where it was is looked for beside the file, by the path that it was given by.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line of it, but the last, is damaged.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; give the predictions.jsonl of a pimjax predict")
    rows, _ = read_rows(file, "path", without="boxes")
    for stored in rows.values():
        row = renamed(stored, ROW)
        yield _photo(row, file.parent)
        yield from _results(row, file.parent)


def _photo(row: Row, folder: Path) -> Verdict:
    photo, expected = str(row.get("photo")), row.get("sha256")
    if "error" in row:
        return Verdict(photo, UNKNOWN, "it could not be used")
    if not isinstance(expected, str):
        return Verdict(photo, UNKNOWN, "the row has no sha256; an older pimjax wrote it: look at the photo again")
    if row.get("path") == STDIN:
        return Verdict(photo, UNKNOWN, "it came by standard input")
    places = [Path(str(row.get("path"))), folder / photo]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        return Verdict(photo, MISSING, f"no file at {places[0]}")
    try:
        size, actual = os.path.getsize(found), _sha256(found)
    except OSError as error:
        return Verdict(photo, MISSING, f"{found}: it cannot be read ({error.strerror})")
    if actual == expected:
        return Verdict(photo, SAME)
    return Verdict(
        photo, CHANGED, f"{found}: {size} bytes, sha256 {actual}; the row says {row.get('bytes')}, {expected}"
    )


def _results(row: Row, folder: Path) -> Iterator[Verdict]:
    files = row.get("files")
    for name in files.values() if isinstance(files, dict) else ():
        if not (isinstance(name, str) and is_inside(name, folder)):
            yield Verdict(str(row.get("photo")), CHANGED, f"a result is called {str(name)[:80]!r}, outside of {folder}")
        elif not (folder / name).is_file():
            yield Verdict(str(row.get("photo")), MISSING, f"its result {folder / name} is gone")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
