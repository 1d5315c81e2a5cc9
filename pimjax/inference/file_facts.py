"""What a photo's file tells of itself, beside its pixels: camera, programs, dates, JPEG's tables, thumbnail, leftovers.

Each fact says what it means and what it does not. Nothing here proves a forgery or an authentic photo: all of it is
written by whoever wrote the file, and can be removed or made up.
"""

import datetime
import hashlib
import math
import re
from collections.abc import Callable
from typing import NamedTuple

from PIL import ExifTags, Image

from pimjax.data.headers import open_lazily, read_header
from pimjax.inference.jpeg_facts import jpeg_facts
from pimjax.inference.thumbnail import thumbnail_facts

_XMP = {  # what is looked for in an XMP packet: its key, and what it is called
    "CreatorTool": "XMP's creator tool",
    "softwareAgent": "program in XMP's history",
    "action": "step in XMP's history",
    "DigitalSourceType": "XMP's digital source type",
}
_TEXTS = ("parameters", "prompt", "workflow", "Software", "Comment", "Description", "pimjax:frame")  # of PNG
_MOST = 200  # characters of a value that are shown


class Fact(NamedTuple):
    """One thing that the file says."""

    topic: str  # "file", "camera", "software", "dates", "place", "compression", "thumbnail", "leftovers", "origin"
    finding: str
    means: str  # what it says, and what it does not


def file_facts(encoded: bytes, name: str, gps: bool = False) -> list[Fact]:
    """Return what an encoded photo says of itself.

    Args:
        encoded: the file.
        name: stands in messages.
        gps: whether coordinates are shown; else only that there are some.

    Raises:
        pimjax.data.headers.ImageError: it is no image, or of a format that is not read.
    """
    header, image = read_header(encoded, name), open_lazily(encoded)
    size = f"{header.format}, {header.width}×{header.height} pixels, {len(encoded):,} bytes"
    facts = [
        Fact("file", size, "as stored"),
        Fact("file", f"SHA-256 {hashlib.sha256(encoded).hexdigest()}", "the same for the same bytes alone"),
    ]
    if header.orientation != 1:
        facts.append(Fact("file", f"EXIF orientation {header.orientation}", "shown turned; maps are turned likewise"))
    readers: list[Callable[[], list[Fact]]] = [
        lambda: _camera(image.getexif()),
        lambda: _programs(image.getexif(), encoded),
        lambda: _dates(image.getexif()),
        lambda: _place(image.getexif(), gps),
        lambda: _texts(image),
    ]
    if header.format == "JPEG":
        readers += [
            lambda: [Fact(*fact) for fact in jpeg_facts(encoded, image)],
            lambda: [Fact("thumbnail", *fact) for fact in thumbnail_facts(encoded, image)],
        ]
    unread = False
    for read in readers:
        try:
            facts += read()
        except Exception:  # whatever damaged entries do to a parser, the others are shown
            unread = True
    if unread:
        facts.append(Fact("file", "part of what it says cannot be read", "damaged, or written by a careless program"))
    return facts + _origin(encoded)


def _camera(exif: Image.Exif) -> list[Fact]:
    details = exif.get_ifd(ExifTags.IFD.Exif)
    parts = [exif.get(ExifTags.Base.Make), exif.get(ExifTags.Base.Model), details.get(ExifTags.Base.LensModel)]
    if not (found := ", ".join(_text(part) for part in parts if part)):
        return [Fact("camera", "none named", "editors and networks remove the name; so do many honest programs")]
    return [Fact("camera", found, "what the file says; another program can write the same")]


def _programs(exif: Image.Exif, encoded: bytes) -> list[Fact]:
    found = []
    if program := exif.get(ExifTags.Base.Software) or exif.get(ExifTags.Base.ProcessingSoftware):
        what = "who saved it last, if that program says so; a camera's own firmware stands here, too"
        found.append(Fact("software", _text(program), what))
    packet = _xmp(encoded)
    for key, called in _XMP.items():
        values = re.findall(rf'{key}(?:="([^"]*)"|>([^<]*)<)', packet)
        texts = list(dict.fromkeys(_text(first or second) for first, second in values if first or second))
        if texts:
            found.append(Fact("software", f"{called}: {', '.join(texts)}", "written by the program that edited it"))
    return found


def _xmp(encoded: bytes) -> str:
    """Return the first XMP packet as text; "" without one. Not parsed as XML, which is input."""
    start = encoded.find(b"<x:xmpmeta")
    end = encoded.find(b"</x:xmpmeta>", start)
    return encoded[start:end].decode("utf-8", "replace") if 0 <= start < end else ""


def _dates(exif: Image.Exif) -> list[Fact]:
    taken = _date(exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal))
    changed = _date(exif.get(ExifTags.Base.DateTime))
    found = []
    if taken:
        found.append(Fact("dates", f"taken {taken}", "by the camera's clock, which may be wrong"))
    if changed:
        found.append(Fact("dates", f"changed {changed}", "by the last program that keeps the entry"))
    if taken and changed and changed > taken:
        found.append(Fact("dates", f"changed {changed - taken} after it was taken", "saved again; not what was done"))
    if taken and changed and changed < taken:
        found.append(Fact("dates", "changed before it was taken", "a clock was wrong, or an entry is made up"))
    return found


def _date(text: object) -> datetime.datetime | None:
    try:
        return datetime.datetime.strptime(_text(text), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None


def _place(exif: Image.Exif, shown: bool) -> list[Fact]:
    found = exif.get_ifd(ExifTags.IFD.GPSInfo)
    try:
        places = [_degrees(found[2], found.get(1)), _degrees(found[4], found.get(3))]
    except KeyError:
        return []
    if not all(map(math.isfinite, places)):
        return [Fact("place", "coordinates that are no numbers", "written by a careless program")]
    text = f"{places[0]:.5f}, {places[1]:.5f}" if shown else "coordinates are in the file; --gps shows them"
    return [Fact("place", text, "where the camera thought to be; can be made up")]


def _degrees(parts: tuple, direction: object) -> float:
    degrees = sum(float(part) / 60**power for power, part in enumerate(parts[:3]))
    return -degrees if direction in ("S", "W") else degrees


def _texts(image: Image.Image) -> list[Fact]:
    texts = image.info if image.format == "PNG" else {}  # of chunks before the pixels, which are not decoded for it
    found = []
    for key in _TEXTS:
        if key in texts:
            what = "picture generators keep their settings here" if key in _TEXTS[:3] else "written by some program"
            found.append(Fact("software", f"PNG text {key}: {_text(texts[key])}", what))
    return found


def _origin(encoded: bytes) -> list[Fact]:
    if b"c2pa" not in encoded or b"jumb" not in encoded:
        return []
    what = "signed statements on its origin are in the file; they are not verified here: use contentcredentials.org"
    return [Fact("origin", "a C2PA manifest", what)]


def _text(value: object) -> str:
    """Return a value of a file for people: one line, of bounded length."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return " ".join(text.replace("\0", " ").split())[:_MOST]
