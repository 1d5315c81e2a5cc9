"""Rows of predictions*.jsonl: what may be believed of them. They are input: another version's, hand-edited, hostile."""

import functools
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from pimjax.aliases import ROW, renamed
from pimjax.files import cannot_write, read_rows

Row = dict[str, Any]
Rows = Mapping[Path, Mapping[str, Row]]  # by file, then by the photo's absolute path

_TYPES = {"path": str, "name": str, "mtime": list, "settings": dict, "model_sha256": str, "files": dict}


def read_results(output: Path) -> dict[Path, dict[str, Row]]:
    """Return the rows of every shard's file in a folder of results, by the photo's absolute path, without "boxes".

    Raises:
        ValueError: a line other than the last of a file is damaged, or is no row of pimjax predict.
    """
    _is_folder_inside.cache_clear()  # links may have come since an earlier run
    results = {}
    for file in sorted(output.glob("predictions*.jsonl")):
        if file.is_symlink() or not file.is_file():
            raise ValueError(f"{file}: not a regular file; move it away, or give another --output")
        try:
            found = read_rows(file, "path", without="boxes")[0]
            results[file] = {path: renamed(row, ROW) for path, row in found.items()}
        except ValueError as error:
            raise ValueError(f"{error}; if pimjax did not write the file, give another --output") from None
        for path, row in results[file].items():
            if not isinstance(path, str) or not ("name" in row or "error" in row):
                raise ValueError(f"{file}: has rows that pimjax did not write; move it away, or give another --output")
    return results


def is_whole(row: Row, output: Path) -> bool:
    """Return whether a row has all that tells what was done, of the right types, and names only files in `output`."""
    return (
        all(isinstance(row.get(key), kind) for key, kind in _TYPES.items())
        and is_inside(row["name"], output)
        and all(isinstance(file, str) and is_inside(file, output) for file in row["files"].values())
    )


def known_names(rows: Rows, output: Path) -> dict[str, str]:
    """Return the names of results by the photo's absolute path; what would be written outside `output` is left out."""
    return {
        path: row["name"]
        for found in rows.values()
        for path, row in found.items()
        if isinstance(row.get("name"), str) and is_inside(row["name"], output)
    }


def named_files(rows: Rows, output: Path) -> frozenset[str]:
    """Return the absolute paths of all files in `output` that rows name as results, by the names that results have."""
    every = [row for found in rows.values() for row in found.values() if isinstance(row.get("files"), dict)]
    # A row that calls a file its own which is not called as its photo is would unlock a file of the user's.
    files = {
        file
        for row in every
        for kind, file in row["files"].items()
        if file == f"{row.get('name')}{'.npy' if kind == 'npy' else f'_{kind}.png'}"
    }
    return frozenset(os.path.abspath(output / file) for file in files if is_inside(file, output))


def is_inside(name: str, output: Path) -> bool:
    """Return whether a name relative to `output` is that of a file inside it, here and on Windows, links followed."""
    parts = PureWindowsPath(name)  # takes / and \ for separators
    if not parts.name or parts.drive or parts.root or ".." in parts.parts or "\0" in name:
        return False
    try:
        os.fsencode(name)
        return _is_folder_inside(PurePath(name).parent, output)
    except ValueError:  # no file's name can be like this, or it is on another drive
        return False


@functools.lru_cache(maxsize=1 << 16)
def _is_folder_inside(folder: PurePath, output: Path) -> bool:
    if folder == PurePath():
        return True
    whole = os.path.realpath(output)
    return os.path.commonpath([os.path.realpath(output / folder), whole]) == whole


def inside(name: str, output: Path) -> str:
    """Return `name`, or one in `output` itself if it leads out."""
    return name if is_inside(name, output) else re.sub(r"[\\/:\0]+|\.\.+", "-", name)


def discard(file: Path, paths: Collection[str]) -> None:
    """Keep only whole rows of other photos in a file: who reads it should find no photo twice. It is made if missing.

    Raises:
        OSError: it cannot be written; the message names it.
    """
    new = file.with_name(f".{file.name}.pimjax-partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        with file.open("ab+") as rows, new.open("wb") as kept:
            rows.seek(0)
            kept.writelines(_others(rows, paths))
        os.replace(new, file)
    except OSError as error:
        raise cannot_write(file, error) from None


def _others(rows: Iterable[bytes], paths: Collection[str]) -> Iterable[bytes]:
    return (row for row in rows if row.endswith(b"\n") and json.loads(row)["path"] not in paths)
