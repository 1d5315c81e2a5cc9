"""Which photos are meant: files, folders, patterns, lists, standard input; and what their results are called."""

import glob
import os
import sys
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pimjax.data.images import SUFFIXES, ImageError, read_bytes
from pimjax.data.walk import NO_IMAGE, Walk, walk
from pimjax.files import MAX_FILE_BYTES, PARTIAL, RECORD, read_regular, wrote
from pimjax.inference.output_names import OUTPUTS
from pimjax.inference.rows import inside

STDIN = "-"
LONGEST = 200  # bytes of a result's name; a file's may have 255, with what is added for each output
_ENDINGS = (*(f"_{output}.png" for output in OUTPUTS), f"{PARTIAL}.png")  # of pictures that are written


class Photo(NamedTuple):
    """One photo to look at."""

    path: str  # as it was given or found; "-" is standard input
    name: str  # of its results, relative to the output folder, without a suffix
    relative_path: str  # inside of the folder or pattern that it was found by; `path` of a file that was named itself

    @property
    def absolute(self) -> str:
        """Return the path from anywhere."""
        return _absolute(self.path)

    def read(self) -> bytes:
        """Return the encoded photo; `pimjax.data.images.ImageError` if it cannot be read."""
        if self.path == STDIN:
            encoded = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
            if len(encoded) > MAX_FILE_BYTES:
                raise ImageError(f"-: standard input gives more than {MAX_FILE_BYTES / 1e6:,.0f} MB; give one photo")
            return encoded
        if os.path.isdir(self.path) or (glob.has_magic(self.path) and not os.path.exists(self.path)):
            raise ImageError(f"{self.path}: no image there; images are files that end in {', '.join(sorted(SUFFIXES))}")
        return read_bytes(self.path)

    def mtime(self) -> list[int]:
        """Return size in bytes and time of the last change in nanoseconds; [] of what has neither."""
        try:
            stat = os.stat(self.path)
        except OSError:
            return []
        return [stat.st_size, stat.st_mtime_ns]


def find_photos(
    inputs: Sequence[str],
    known: Mapping[str, str] | None = None,
    output: Path | None = None,
    results: Collection[str] = (),
    passed_over: dict[Path, str] | None = None,
) -> list[Photo]:
    """Return all photos that `inputs` mean, in their order, those of a folder or pattern sorted; each once.

    Args:
        inputs: files; folders, in which all images are meant, at any depth; patterns such as "shots/**/*.jpg"; "-".
        known: names that results already have, by absolute path. They are kept, and no other photo is given one.
        output: a folder of results. What lies in it is not looked for in folders and by patterns; if they themselves
            lie there, `results` and what the record of written files names are not. No name leads out of it.
        results: absolute paths of files in `output` that rows name.
        passed_over: is given what else is in folders and fits patterns: absolute paths, and why they are no photos, for
            `pimjax.data.walk.describe`.

    Returns:
        a file's name is its stem; what was found in a folder is named by its path inside of it. Where two would be
        called the same, the later is numbered; long ones are cut. A folder or pattern without an image is there as if
        it were a photo, and reading it says what is wrong.
    """
    found: dict[str, tuple[str, str]] = {}
    for text in inputs:
        for path, relative_path in _expand(text, output, results, {} if passed_over is None else passed_over):
            found.setdefault(_absolute(path), (path, relative_path))
    names = dict(known or {})
    taken = dict.fromkeys(names.values(), 1)
    for absolute, (path, relative_path) in found.items():
        if absolute not in names:
            shown = "stdin" if path == STDIN else Path(relative_path).name if relative_path == path else relative_path
            name = os.path.splitext(shown)[0]
            names[absolute] = _free(_short(inside(name, output) if output else name), taken)
    return [Photo(path, names[absolute], relative_path) for absolute, (path, relative_path) in found.items()]


def read_list(file: Path) -> list[str]:
    """Return the lines of a file, or of standard input if it is "-", that are not empty; OSError if it is no file."""
    listing = sys.stdin.buffer.read() if str(file) == STDIN else read_regular(file)
    return [os.fsdecode(line) for line in listing.splitlines() if line]  # names may be no text


def shard(photos: Sequence[Photo], number: int, count: int) -> list[Photo]:
    """Return the part of machine `number` of `count`, counted from 1: every photo is in exactly one.

    A photo's relative path decides: it stays in its part whatever photos are added or removed.
    """
    return [photo for photo in photos if zlib.crc32(os.fsencode(photo.relative_path)) % count == number - 1]


def _expand(
    text: str, output: Path | None, results: Collection[str], passed_over: dict[Path, str]
) -> Iterable[tuple[str, str]]:
    """Return paths, and the relative path of each."""
    path = Path(text)
    if text == STDIN:
        return [(text, text)]
    if path.is_dir():
        root, found = path, walk(path, leave_out=output)
    elif glob.has_magic(text) and not path.exists():
        first = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
        root = Path(*path.parts[:first])
        found = walk(root, path.parts[first:], leave_out=output) if root.is_dir() else Walk([], {})
    else:
        return [(text, text)]  # if it is not there, reading it says so
    images = [
        (str(path), path.relative_to(root).as_posix())
        for path in found.files
        if not (output and _is_result(path, root, output, results))
    ]
    for path, why in found.passed_over.items():
        if not (output and _is_below(root, output) and _is_record(path, why)):
            passed_over[Path(_absolute(str(path)))] = why
    return images or [(text, text)]


def _is_result(path: Path, root: Path, output: Path, results: Collection[str]) -> bool:
    if not _is_below(path, output):
        return False
    if not _is_below(root, output) or _absolute(str(path)) in results:
        return True
    return path.name.endswith(_ENDINGS) and wrote(path)  # pimjax may have written photos there, too


def _is_record(path: Path, why: str) -> bool:
    """Tell whether a file in the output folder, which is no image, may be what lies beside results."""
    return why == NO_IMAGE or path.name.startswith((RECORD, ".predictions")) or wrote(path)


def _is_below(path: Path, folder: Path) -> bool:
    return (_absolute(str(path)) + os.sep).startswith(_absolute(str(folder)) + os.sep)


def _absolute(path: str) -> str:
    return path if path == STDIN else os.path.abspath(path)


def _short(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    while len(os.fsencode(last)) > LONGEST:
        last = last[:-1]
    return folder + slash + last


def _free(name: str, taken: dict[str, int]) -> str:
    """Return `name`, numbered if it is taken; `taken` has the last number that each was given."""
    candidate = name
    while candidate in taken:
        taken[name] += 1
        candidate = f"{name}-{taken[name]}"
    taken[candidate] = 1
    return candidate
