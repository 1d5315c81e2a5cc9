"""In which frame a map lies: as its photo is stored, or turned upright. Maps say so, or the rows beside them.

A PNG map carries two text chunks, `pimjax:frame` ("upright" or "stored") and `pimjax:orientation` (the EXIF number by
which the stored pixels were turned). A row of `predictions*.jsonl` has both as "frame" and "orientation", and holds for
the files that it names: so a `.npy` map, which has no room for text, is covered as well.
"""

import functools
import os
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from pimjax.files import ForeignFileError, claim, read_rows

_SIGNATURE, _HEADER = b"\x89PNG\r\n\x1a\n", 25  # bytes of IHDR, which is always first
FRAMES = ("upright", "stored")


class Frame(NamedTuple):
    """How a map lies, compared with its photo's stored pixels."""

    frame: str  # of FRAMES
    orientation: int  # EXIF, 1 … 8: turns the stored pixels upright (`pimjax.data.images.turn_upright`)

    def text(self) -> dict[str, str]:
        """Return what a PNG map carries."""
        return {"pimjax:frame": self.frame, "pimjax:orientation": str(self.orientation)}


def frame_of(path: str | os.PathLike) -> Frame | None:
    """Return the frame of a map: what its PNG text says, else the row that names it, in its folder or one above.

    None: nobody says, or the file was changed since its row was written.
    """
    path = Path(os.path.abspath(path))
    if path.suffix.lower() == ".png" and path.is_file():
        text = png_text(path.read_bytes())
        if frame := _checked(text.get("pimjax:frame"), text.get("pimjax:orientation")):
            return frame
    for folder in path.parents:
        for rows in sorted(folder.glob("predictions*.jsonl")):
            if (frame := _frames(rows, _changed(rows)).get(str(path))) and _is_unchanged(path):
                return frame
    return None


def png_text(encoded: bytes) -> dict[str, str]:
    """Return the tEXt chunks of an encoded PNG by keyword; {} of what is no PNG. Damaged chunks are passed over."""
    found: dict[str, str] = {}
    if not encoded.startswith(_SIGNATURE):
        return found
    start = len(_SIGNATURE)
    while start + 12 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, start)
        end = start + 8 + length
        if kind == b"tEXt" and encoded[end : end + 4] == _checksum(encoded[start + 4 : end]):
            keyword, _, text = encoded[start + 8 : end].partition(b"\0")
            found[keyword.decode("latin-1")] = text.decode("latin-1")
        start = end + 4
    return found


def with_text(encoded: bytes | memoryview, text: dict[str, str]) -> bytes:
    """Return an encoded PNG with a tEXt chunk for each keyword (Latin-1, 1 … 79 characters); its pixels stay."""
    encoded, place = memoryview(encoded).cast("B"), len(_SIGNATURE) + _HEADER
    chunks = (_chunk(b"tEXt" + f"{keyword}\0{words}".encode("latin-1")) for keyword, words in text.items())
    return b"".join([encoded[:place], *chunks, encoded[place:]])


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _chunk(content: bytes) -> bytes:
    """Return a PNG chunk; `content` begins with the chunk's kind."""
    return struct.pack(">I", len(content) - 4) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))


@functools.lru_cache(maxsize=64)
def _frames(rows: Path, changed: int) -> dict[str, Frame]:
    """Return frames by the absolute path of a map, out of a file of rows that was last `changed` then."""
    try:
        found = read_rows(rows, "path", without="boxes")[0].values()
    except (ValueError, OSError):  # another's file of that name, or damaged: nothing is known
        return {}
    frames: dict[str, Frame] = {}
    for row in found:
        frame, files = _checked(row.get("frame"), row.get("orientation")), row.get("files")
        if frame and isinstance(files, dict):
            frames |= {os.path.normpath(rows.parent / file): frame for file in files.values() if isinstance(file, str)}
    return frames


def _checked(frame: Any, orientation: Any) -> Frame | None:
    if frame not in FRAMES or str(orientation) not in "12345678" or len(str(orientation)) != 1:
        return None
    return Frame(frame, int(orientation))


def _is_unchanged(path: Path) -> bool:
    try:
        claim(path, ours=True)
    except ForeignFileError:
        return False
    return True
