"""Which photos are meant: files, folders, patterns, lists, standard input; and what their results are called."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pimjax.data.images import SUFFIXES, read_bytes

STDIN = "-"
OUTPUTS = ("probability", "overlay", "mask", "npy", "boundary", "reconstruction")  # what may be written of each


class Photo(NamedTuple):
    """One photo to look at."""

    path: str  # as it was given or found; "-" is standard input
    name: str  # of its results, relative to the output folder, without a suffix

    def read(self) -> bytes:
        """The encoded photo; `pimjax.data.images.ImageError` if it cannot be read."""
        return sys.stdin.buffer.read() if self.path == STDIN else read_bytes(self.path)

    def stamp(self) -> list[int]:
        """Size in bytes and time of the last change in nanoseconds; [] of what has neither."""
        try:
            stat = os.stat(self.path)
        except OSError:
            return []
        return [stat.st_size, stat.st_mtime_ns]


def find_photos(inputs: Sequence[str], known: dict[str, str] | None = None) -> list[Photo]:
    """All photos that `inputs` mean, in their order, those of a folder or pattern sorted; each once.

    Args:
        inputs: files; folders, in which all images are meant, at any depth; patterns such as "shots/**/*.jpg"; "-".
        known: names that results already have, by path. They are kept, and no other photo is given one of them.

    Returns:
        a file's name is its stem; what was found in a folder is named by its path inside of it. Where two would be
        called the same, the later is numbered.

    Raises:
        ValueError: a folder or pattern holds no image.
    """
    found: dict[str, Path] = {}
    for text in inputs:
        for path, relative in _expand(text):
            found.setdefault(path, relative)
    names = dict(known or {})
    taken = set(names.values())
    for path, relative in found.items():
        if path not in names:
            names[path] = _free(relative.with_suffix("").as_posix(), taken)
            taken.add(names[path])
    return [Photo(path, names[path]) for path in found]


def read_list(file: Path) -> list[str]:
    """The lines of a file, or of standard input if it is "-", that are not empty."""
    listing = sys.stdin.buffer.read() if str(file) == STDIN else file.read_bytes()
    return [os.fsdecode(line) for line in listing.splitlines() if line]  # names may be no text


def shard(photos: Sequence[Photo], number: int, count: int) -> list[Photo]:
    """The part of machine `number` of `count`, counted from 1: every photo is in exactly one."""
    return list(photos[number - 1 :: count])


def _expand(text: str) -> Iterable[tuple[str, Path]]:
    """Paths, and what to call each by."""
    path = Path(text)
    if text == STDIN:
        return [(text, Path("stdin"))]
    if path.is_dir():
        return _images(text, sorted(_walk(path)), path)
    if glob.has_magic(text) and not path.exists():
        fixed = Path(*path.parts[: _magic(path)])
        return _images(text, sorted(Path(name) for name in glob.iglob(text, recursive=True)), fixed)
    return [(text, Path(path.name))]  # if it is not there, reading it says so


def _images(text: str, paths: Sequence[Path], root: Path) -> list[tuple[str, Path]]:
    images = [(str(path), path.relative_to(root)) for path in paths if path.suffix.lower() in SUFFIXES]
    if not images:
        raise ValueError(f"{text}: no image there; images are files that end in {', '.join(sorted(SUFFIXES))}")
    return images


def _walk(folder: Path) -> Iterator[Path]:
    for where, _, files in os.walk(folder):
        yield from (Path(where, file) for file in files)


def _magic(path: Path) -> int:
    return next(i for i, part in enumerate(path.parts) if glob.has_magic(part))


def _free(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
