"""The one walk through folders of images: what is an image there, and what is passed over, and why."""

import os
from collections import Counter, deque
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from pimjax.data.images import SUFFIXES

EVERYTHING = ("**",)

# Why something is passed over.
UNREAD = "an image, by its suffix or its content, whose suffix is not among those that are read"
NO_IMAGE = "a file that is no image"
LITTER = "a file or folder that systems and programs leave, or a hidden one"
MET = "a link to a folder that was looked at"
CLOSED = "a folder that cannot be opened"

_LITTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "@recycle", "#recycle"})
_LITTER |= {"$recycle.bin", "system volume information", "lost+found"}
# fmt: off
_UNREAD = frozenset({
    ".heic", ".heif", ".hif", ".avif", ".gif", ".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".jxl", ".jxr", ".jps", ".mpo",
    ".psd", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw",
    ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2", ".pef", ".srw", ".x3f", ".3fr", ".iiq", ".rwl", ".raw",
})
_BEGINNINGS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n", b"II*\0", b"MM\0*", b"GIF8", b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ", b"8BPS",
)
# fmt: on
_BRANDS = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx ")  # of HEIF, AVIF and CR3

PassedOver = Mapping[Path, str]  # to one of the reasons above


class Walk(NamedTuple):
    """What is in a folder."""

    files: list[Path]  # images, in the order of their paths
    passed_over: dict[Path, str]


class _Folder(NamedTuple):
    path: Path
    parts: tuple[str, ...]  # of `path` below the folder that `pattern` begins in
    pattern: tuple[str, ...]


def walk(
    folder: str | os.PathLike,
    pattern: tuple[str, ...] = EVERYTHING,
    leave_out: str | os.PathLike | None = None,
    deep: bool = True,
    hidden: bool = False,
) -> Walk:
    """Find the images in a folder. Linked folders are followed, each folder once: loops end.

    Args:
        folder: where to begin.
        pattern: what the paths below `folder` must be like, part by part; "**" stands for any number of parts.
            All is meant of a folder that is like the pattern and is named as an image.
        leave_out: a folder below it that is not entered, whatever links lead there, such as one of results.
        deep: whether folders in it are entered.
        hidden: whether names count that begin with a dot; those that begin with "._" never do.

    Returns:
        Images, which are files with one of SUFFIXES (also broken links, pipes and the like: reading them says so),
        and what was passed over. Of a folder with several paths, one without links counts.
    """
    found = Walk([], {})
    met = set() if leave_out is None else {os.path.realpath(leave_out)} - {os.path.realpath(folder)}
    entered = set()
    waiting, links = [_Folder(Path(folder), (), pattern)], deque()
    while waiting or links:
        is_link = not waiting
        place = links.popleft() if is_link else waiting.pop()
        real = os.path.realpath(place.path)
        if real in met:
            if is_link and real in entered:
                found.passed_over[place.path] = MET
            continue
        met.add(real)
        entered.add(real)
        try:
            entries = sorted(os.scandir(place.path), key=lambda entry: entry.name)
        except OSError:
            found.passed_over[place.path] = CLOSED
            continue
        for entry in entries:
            if inner := _look(entry, place, found, deep, hidden):
                (links if entry.is_symlink() else waiting).append(inner)
    found.files.sort()
    return found


def _look(entry: os.DirEntry, place: _Folder, found: Walk, deep: bool, hidden: bool) -> _Folder | None:
    """Sort a file into what was found; return a folder that is to be entered."""
    path, parts = place.path / entry.name, (*place.parts, entry.name)
    if is_litter(entry.name, hidden):
        if _fits(parts, place.pattern, whole=False):
            found.passed_over[path] = LITTER
        return None
    fits = _fits(parts, place.pattern)
    if os.path.isdir(path) if entry.is_symlink() else entry.is_dir():
        if deep and fits and is_image(entry.name):
            return _Folder(path, (), EVERYTHING)
        return _Folder(path, parts, place.pattern) if deep and _fits(parts, place.pattern, whole=False) else None
    if fits and is_image(entry.name):
        found.files.append(path)
    elif fits:
        found.passed_over[path] = UNREAD if suffix(entry.name) in _UNREAD or _begins_as_image(path) else NO_IMAGE
    return None


def suffix(name: str) -> str:
    """Return what a name ends in from its last dot on, in small letters; of ".jpg" it is ".jpg"."""
    return name[name.rfind(".") :].lower() if "." in name else ""


def is_image(name: str) -> bool:
    """Tell whether a name ends as those of images do that are read."""
    return suffix(name) in SUFFIXES


def is_picture(name: str) -> bool:
    """Tell whether a name ends as those of images do, read or not."""
    return suffix(name) in SUFFIXES | _UNREAD


def is_litter(name: str, hidden: bool = False) -> bool:
    """Tell whether systems or programs leave files and folders of this name; hidden ones count as such by default."""
    return name.startswith("._") or name.lower() in _LITTER or _is_hidden(name, hidden)


def _is_hidden(name: str, hidden: bool) -> bool:
    return name.startswith(".") and not (hidden and is_image(name))


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...], whole: bool = True) -> bool:
    """Tell whether all parts of a path fit a pattern, or else the first parts of it: there may be more below."""
    if not parts:
        return not whole or all(part == "**" for part in pattern)
    if not pattern:
        return False
    if pattern[0] == "**":
        return len(pattern) == 1 or _fits(parts, pattern[1:], whole) or _fits(parts[1:], pattern, whole)
    return fnmatch(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:], whole)


def _begins_as_image(path: Path) -> bool:
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return False
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return False
    webp, bmp = head[:4] == b"RIFF" and head[8:12] == b"WEBP", head[:2] == b"BM" and head[6:10] == bytes(4)
    return head.startswith(_BEGINNINGS) or webp or bmp or (head[4:8] == b"ftyp" and head[8:12] in _BRANDS)


def describe(passed_over: PassedOver) -> str:
    """Return one line that says how much was passed over and why, names not yet printable; "" of nothing."""
    by_reason: dict[str, list[Path]] = {reason: [] for reason in _SAID}
    for path, reason in passed_over.items():
        by_reason[reason].append(path)
    return "; ".join(_SAID[reason](paths) for reason, paths in by_reason.items() if paths)


def _say_unread(paths: list[Path]) -> str:
    kinds = Counter(suffix(path.name) for path in paths)
    without = kinds.pop("", 0)
    counts = [f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))]
    counts += [f"{without} without a suffix"] if without else []
    remedy = "convert HEIC, AVIF and the like to JPEG or PNG losslessly; name JPEG files .jpg"
    return f"{_count(paths, 'file was', 'files were')} not looked at: {', '.join(counts)} ({remedy})"


def _say_litter(paths: list[Path]) -> str:
    names = sorted({path.name for path in paths})
    what = _count(paths, "file or folder of systems and programs was", "files and folders of systems and programs were")
    return f"{what} left out: {_some(names)}"


_SAID = {  # in this order
    UNREAD: _say_unread,
    NO_IMAGE: lambda paths: _count(paths, "file is no image", "files are no images"),
    LITTER: _say_litter,
    MET: lambda paths: (
        f"{_count(paths, 'link leads', 'links lead')} to folders that were looked at: {_some(sorted(map(str, paths)))}"
    ),
    CLOSED: lambda paths: (
        f"{_count(paths, 'folder', 'folders')} cannot be opened: {_some(sorted(map(str, paths)))} "
        "(correct the permissions)"
    ),
}


def _count(paths: list[Path], one: str, many: str) -> str:
    return f"1 {one}" if len(paths) == 1 else f"{len(paths)} {many}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
