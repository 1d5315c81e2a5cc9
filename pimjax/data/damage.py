"""Whether an image's file is whole, before it is decoded: decoders fill with gray or black what is missing."""

import re
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from pimjax.data.headers import Header, open_lazily
from pimjax.jpeg import scans

_OFFSETS = ((273, 279), (324, 325))  # TIFF's tags of strips and tiles: where they are, and how long
_BITS, _COMPRESSION, _JPEG_TABLES = 258, 259, 347
_DEFLATE, _JPEG, _LOADED = (8, 32946), 7, (5, 32773)  # the last, LZW and PackBits: whether Pillow can load them tells


def damage(encoded: bytes, header: Header) -> str:
    """Return what is wrong with an encoded image, in words; "" if nothing is found.

    JPEG: every scan ends where its data do. PNG: checksums, and the chunk that ends it. TIFF, BMP and WebP: what the
    header tells of is in the file; TIFF's strips are decompressed. Damage inside of data that have no checksum and
    still can be decoded goes unseen, such as zeros in an uncompressed file.
    """
    try:
        return _CHECKS[header.format](encoded)
    except Exception:  # whatever a damaged file does to a parser
        return "its headers are damaged"


def _jpeg(encoded: bytes) -> str:
    frame = scans.read_frame(encoded)
    return scans.damage(encoded, frame) if frame else "it has no frame header"


def _png(encoded: bytes) -> str:
    sizes, data = [], []
    for kind, start, end in _png_chunks(encoded):
        if end + 4 > len(encoded):
            return "it is cut off"
        if zlib.crc32(encoded[start - 4 : end]) != int.from_bytes(encoded[end : end + 4]):
            return f"the checksum of its chunk {kind.decode('latin-1')} is wrong"
        if kind == b"IDAT":
            sizes.append(end - start)
            data.append(memoryview(encoded)[start:end])
        if kind == b"IEND":
            # Inflated only where the chunks look as if one were missing: it takes half as long as decoding.
            odd = len(set(sizes[:-1])) > 1 or (len(sizes) > 1 and sizes[-1] >= sizes[0])
            return _inflated(data) if sizes and odd else "" if sizes else "it holds no picture data"
    return "its end is missing"


def _png_chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 8
    while at + 8 <= len(encoded):
        size = int.from_bytes(encoded[at : at + 4])
        yield encoded[at + 4 : at + 8], at + 8, at + 8 + size
        at += size + 12


def _inflated(parts: list[memoryview]) -> str:
    stream = zlib.decompressobj()
    try:
        for part in parts:
            stream.decompress(part)
    except zlib.error as error:
        return f"its data cannot be decompressed ({error})"
    return "" if stream.eof else "its data end before the picture does"


def _tiff(encoded: bytes) -> str:
    image = open_lazily(encoded)
    tags: Any = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue]  # a TIFF's
    starts, sizes = next((tags[a], tags.get(b, ())) for a, b in _OFFSETS if a in tags)
    compression = tags.get(_COMPRESSION, 1)
    if compression == 1 and len(starts) == 1:  # of which not all writers tell the size, or the right one
        row = (image.width * sum(tags.get(_BITS, (1,))) + 7) // 8
        sizes = (row * image.height,)
    spans = [(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    if any(end > len(encoded) for _, end in spans):
        return "its data end before the picture does"
    parts = [memoryview(encoded)[start:end] for start, end in spans if end > start]
    if compression in _DEFLATE:
        return next(filter(None, (_inflated([part]) for part in parts)), "")
    if compression == _JPEG:
        tables = bytes(tags.get(_JPEG_TABLES, b"\xff\xd8\xff\xd9"))
        return next(filter(None, (_jpeg(tables[:-2] + bytes(part[2:])) for part in parts)), "")
    return _loaded(image) if compression in _LOADED else ""


def _loaded(image: Image.Image) -> str:
    try:
        image.load()
    except OSError as error:
        return f"its data cannot be decompressed ({error})"
    return ""


def _bmp(encoded: bytes) -> str:
    number = lambda at, size=4: int.from_bytes(encoded[at : at + size], "little", signed=True)  # noqa: E731
    if number(14) < 40 or number(30) not in (0, 3):  # an older header, or compressed
        return ""
    row = (number(18) * number(28, 2) + 31) // 32 * 4
    return "it is cut off" if number(10) + row * abs(number(22)) > len(encoded) else ""


def _webp(encoded: bytes) -> str:
    if int.from_bytes(encoded[4:8], "little") + 8 > len(encoded):
        return "it is cut off"
    zeros = max((len(run) for run in re.findall(rb"\0{64,}", encoded)), default=0)  # a flat picture has 5 %
    return "its data are zeros for a part" if zeros > len(encoded) / 10 else ""


_CHECKS = {"JPEG": _jpeg, "PNG": _png, "TIFF": _tiff, "BMP": _bmp, "WEBP": _webp}
