"""Which photos are meant: files, folders, patterns, lists, standard input; and what their results are called."""

import glob
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from pimjax.data.images import SUFFIXES, ImageError, read_bytes

STDIN = "-"
LONGEST = 200  # bytes of a result's name; a file's may have 255, with what is added for each output
OUTPUTS = ("probability", "overlay", "mask", "npy", "boundary", "reconstruction")  # what may be written of each


class Photo(NamedTuple):
    """One photo to look at."""

    path: str  # as it was given or found; "-" is standard input
    name: str  # of its results, relative to the output folder, without a suffix

    @property
    def absolute(self) -> str:
        """The path from anywhere."""
        return _absolute(self.path)

    def read(self) -> bytes:
        """The encoded photo; `pimjax.data.images.ImageError` if it cannot be read."""
        if os.path.isdir(self.path) or (glob.has_magic(self.path) and not os.path.exists(self.path)):
            raise ImageError(f"{self.path}: no image there; images are files that end in {', '.join(sorted(SUFFIXES))}")
        return sys.stdin.buffer.read() if self.path == STDIN else read_bytes(self.path)

    def stamp(self) -> list[int]:
        """Size in bytes and time of the last change in nanoseconds; [] of what has neither."""
        try:
            stat = os.stat(self.path)
        except OSError:
            return []
        return [stat.st_size, stat.st_mtime_ns]


def find_photos(
    inputs: Sequence[str],
    known: Mapping[str, str] | None = None,
    results: AbstractSet[str] = frozenset(),
    output: Path | None = None,
) -> list[Photo]:
    """All photos that `inputs` mean, in their order, those of a folder or pattern sorted; each once.

    Args:
        inputs: files; folders, in which all images are meant, at any depth; patterns such as "shots/**/*.jpg"; "-".
        known: names that results already have, by absolute path. They are kept, and no other photo is given one.
        results: absolute paths of what was written of photos, which is not looked for in folders and by patterns.
        output: a folder of results. Nor is anything that lies in it, unless it is asked for itself.

    Returns:
        a file's name is its stem; what was found in a folder is named by its path inside of it. Where two would be
        called the same, the later is numbered; long ones are cut. A folder or pattern without an image is there as if
        it were a photo, and reading it says what is wrong.
    """
    found: dict[str, tuple[str, Path]] = {}
    for text in inputs:
        for path, relative in _expand(text, results, output):
            found.setdefault(_absolute(path), (path, relative))
    names = dict(known or {})
    taken = set(names.values())
    for absolute, (_, relative) in found.items():
        if absolute not in names:
            names[absolute] = _free(_short(relative.with_suffix("").as_posix()), taken)
            taken.add(names[absolute])
    return [Photo(path, names[absolute]) for absolute, (path, _) in found.items()]


def read_list(file: Path) -> list[str]:
    """The lines of a file, or of standard input if it is "-", that are not empty."""
    listing = sys.stdin.buffer.read() if str(file) == STDIN else file.read_bytes()
    return [os.fsdecode(line) for line in listing.splitlines() if line]  # names may be no text


def shard(photos: Sequence[Photo], number: int, count: int) -> list[Photo]:
    """The part of machine `number` of `count`, counted from 1: every photo is in exactly one.

    A photo's path decides, as it is given or found: it stays in its part whatever photos are added or removed.
    """
    return [photo for photo in photos if zlib.crc32(os.fsencode(photo.path)) % count == number - 1]


def _expand(text: str, results: AbstractSet[str], output: Path | None) -> Iterable[tuple[str, Path]]:
    """Paths, and what to call each by."""
    path = Path(text)
    if text == STDIN:
        return [(text, Path("stdin"))]
    if path.is_dir():
        paths, root = _walk(path), path
    elif glob.has_magic(text) and not path.exists():
        paths, root = map(Path, glob.iglob(text, recursive=True)), Path(*path.parts[: _magic(path)])
    else:
        return [(text, Path(path.name))]  # if it is not there, reading it says so
    inside = _absolute(str(output)) if output else ""
    if not inside or _absolute(str(root)).startswith(inside):
        inside = "\0"  # which no path begins with
    images = [
        (str(path), path.relative_to(root))
        for path in sorted(paths)
        if path.suffix.lower() in SUFFIXES
        and (absolute := _absolute(str(path))) not in results
        and not absolute.startswith(inside + os.sep)
    ]
    return images or [(text, Path(path.name))]


def _absolute(path: str) -> str:
    return path if path == STDIN else os.path.abspath(path)


def _walk(folder: Path) -> Iterator[Path]:
    for where, _, files in os.walk(folder):
        yield from (Path(where, file) for file in files)


def _magic(path: Path) -> int:
    return next(i for i, part in enumerate(path.parts) if glob.has_magic(part))


def _short(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    while len(os.fsencode(last)) > LONGEST:
        last = last[:-1]
    return folder + slash + last


def _free(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
