"""Whether a JPEG's data are all there: its segments, its frame, and a test of every scan with libjpeg itself.

libjpeg fills with gray what is missing and drops what is left over, and neither OpenCV nor Pillow tells. But Pillow's
decoder takes the file piece by piece and says how much of it was used: after the last bit of a scan, libjpeg looks for
the next marker and uses up whatever comes; before it, libjpeg waits until it has the bits of a whole block.
"""

import io
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, JpegImagePlugin

SOS, EOI, DHT, DRI, DATA = 0xDA, 0xD9, 0xC4, 0xDD, 0  # DATA stands for entropy-coded data, which have no marker
RESTARTS = range(0xD0, 0xD8)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, 0xCC}  # SOF0 … SOF15, without DHT, JPG and DAC
_ALONE = frozenset({0x01, 0xD8, *RESTARTS})  # markers without a length
_FILL = b"\xff\x00"  # eight bits of a code that no table has
_UNIT = re.compile(rb"\xff.|[^\xff]", re.DOTALL)  # a byte of data; two stand for 0xFF
_RUN = bytes(64)  # longer than the longest block in zeros
_TOLERATED = 16  # bytes that may be left over behind the data of a sound file


class Frame(NamedTuple):
    """What a JPEG's frame header says."""

    marker: int  # 0xC0 … 0xCF: how the data are coded
    precision: int  # bits
    width: int  # pixels
    height: int
    components: dict[int, tuple[int, int]]  # by identifier: sampling factors, horizontal and vertical


class Segment(NamedTuple):
    """A marker with what belongs to it: [start, end) in bytes."""

    marker: int
    start: int
    end: int


def segments(encoded: bytes) -> Iterator[Segment]:
    """Yield the segments of the first image in the file, EOI last if it is there.

    Entropy-coded data are a segment of their own, with the marker before them: SOS or a restart marker.
    """
    at, places = 2, None
    while (start := _next_marker(encoded, at)) >= 0:
        marker = encoded[start + 1]
        at = start + 2
        if marker != EOI and marker not in _ALONE:
            at += int.from_bytes(encoded[at : at + 2])
        yield Segment(marker, start, at)
        if marker == EOI:
            return
        if marker == SOS or marker in RESTARTS:
            places = _markers(encoded) if places is None else places
            number = int(np.searchsorted(places, at))
            end = int(places[number]) if number < len(places) else len(encoded)
            while end > at and encoded[end - 1] == 0xFF:  # bytes that may fill up before any marker
                end -= 1
            yield Segment(DATA, at, end)
            at = end


def _next_marker(encoded: bytes, at: int) -> int:
    while 0 <= (at := encoded.find(b"\xff", at)) < len(encoded) - 1:
        if encoded[at + 1] not in (0, 0xFF):
            return at
        at += 1
    return -1


def _markers(encoded: bytes) -> np.ndarray:
    """Return where in the file a marker may be; the data are too long to look for them one by one."""
    values = np.frombuffer(encoded, np.uint8)
    return np.flatnonzero((values[:-1] == 0xFF) & (values[1:] != 0) & (values[1:] != 0xFF))


def read_frame(encoded: bytes) -> Frame | None:
    """Return the frame header; None if there is none in front of the first scan."""
    for marker, start, end in segments(encoded):
        if marker in (SOS, EOI):
            return None
        if marker in _FRAMES and end - start >= 10:
            body = encoded[end - int.from_bytes(encoded[start + 2 : start + 4]) + 2 : end]
            height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
            components = {body[at]: divmod(body[at + 1], 16) for at in range(6, min(6 + 3 * body[5], len(body) - 1), 3)}
            return Frame(marker, body[0], width, height, components)
    return None


def not_read(frame: Frame) -> str:
    """Return what kind of JPEG it is, if it is none that OpenCV decodes; else ""."""
    if frame.marker in (0xC3, 0xC7, 0xCB, 0xCF):
        return "a lossless JPEG"
    if frame.marker >= 0xC9:
        return "an arithmetic-coded JPEG"
    if frame.marker >= 0xC5:
        return "a hierarchical JPEG"
    return "" if frame.precision == 8 else f"a {frame.precision}-bit JPEG"


def damage(encoded: bytes, frame: Frame) -> str:
    """Return what is wrong with the data of a JPEG that is read at all, in words; "" if they are whole."""
    # A block takes two bits or more, or one in a progressive file's first scan, and covers 64 pixels.
    if frame.width * frame.height > 512 * len(encoded):
        return f"it claims {frame.width}×{frame.height} pixels, which {len(encoded):,} bytes cannot hold"
    try:
        return _walk_through(encoded, frame)
    except Exception:  # whatever damaged headers do to a parser, Pillow's included
        return "its headers are damaged"


def _walk_through(encoded: bytes, frame: Frame) -> str:
    decoder = _Decoder(encoded)
    known: dict[tuple[int, int], int] = {}  # by component and coefficient: the lowest bit that a scan brought
    fed, interval, restarts, found, zeros_are_blocks = 0, 0, 0, 0, True
    shortest: dict[int, int] = {}  # by class and number of a Huffman table: the symbol whose code is all zeros
    for marker, start, end in segments(encoded):
        if marker not in RESTARTS and marker != DATA and found < restarts:
            return "its data end before the picture does"
        if marker == EOI:
            places = itertools.product(frame.components, range(64))
            return "" if all(known.get(place) == 0 for place in places) else "scans are missing at its end"
        if marker == 0xD8:
            return "another image begins inside of its data"
        if marker == DRI:
            interval = int.from_bytes(encoded[start + 4 : end])
        elif marker == DHT:
            shortest |= _shortest(encoded[start + 4 : end])
        elif marker == SOS:
            header = encoded[start + 4 : end]
            known |= _brought(header, frame)
            restarts = _up(_units(header, frame), interval) - 1 if interval else 0
            found, zeros_are_blocks = 0, frame.marker == 0xC2 or _ends_blocks(header, shortest)
        elif marker in RESTARTS:
            if found == restarts or marker != RESTARTS[found % 8]:
                return "data between restart markers are missing"
            found += 1
        elif marker == DATA:
            decoder.feed(encoded[fed:start])
            data = encoded[start:end]
            if what := decoder.feed_data(data):
                return what
            if not zeros_are_blocks and 0 <= data.find(_RUN) < len(data.rstrip(b"\0")):
                return "its data are zeros for a part"
            fed = end
    return "its end is missing"


def _units(header: bytes, frame: Frame) -> int:
    """Return how many minimum coded units a scan has; `header` is SOS without its length."""
    most_h, most_v = (max(sampling[i] for sampling in frame.components.values()) for i in (0, 1))
    across, down = 8 * most_h, 8 * most_v
    if header[0] == 1:  # blocks of one component, without those that only fill up
        h, v = frame.components.get(header[1], (1, 1))
        return _up(_up(frame.width * h, most_h), 8) * _up(_up(frame.height * v, most_v), 8)
    return _up(frame.width, across) * _up(frame.height, down)


def _up(number: int, unit: int) -> int:
    return -(-number // unit)


def _shortest(body: bytes) -> dict[int, int]:
    """Return the first symbol of each table in a segment of Huffman tables."""
    found, at = {}, 0
    while at + 17 < len(body):
        found[body[at]] = body[at + 17]
        at += 17 + sum(body[at + 1 : at + 17])
    return found


def _ends_blocks(header: bytes, shortest: dict[int, int]) -> bool:
    """Return whether zeros may be many empty blocks: no table of the scan gives their code to anything but a block's
    end.
    """
    tables = {header[2 + 2 * number] & 15 for number in range(header[0])}
    return not any(shortest.get(0x10 | table, 0) for table in tables)


def _brought(header: bytes, frame: Frame) -> dict[tuple[int, int], int]:
    """Return the lowest bit that a scan brings, by component and coefficient; `header` is SOS without its length."""
    names, (first, last, bits) = header[1 : 1 + 2 * header[0] : 2], header[1 + 2 * header[0] :][:3]
    if frame.marker != 0xC2:
        first, last, bits = 0, 63, 0
    return {(name, place): bits & 15 for name in names for place in range(first, last + 1)}


class _Decoder:
    """Feed Pillow's decoder of one JPEG piece by piece; it makes a gray picture of an eighth of the size."""

    def __init__(self, encoded: bytes):
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(encoded))
        image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
        self._decoder = Image._getdecoder(image.mode, "jpeg", image.tile[0][3], image.decoderconfig)
        self._picture = Image.core.new(image.mode, image.size)  # the decoder does not keep it alive
        self._decoder.setimage(self._picture, (0, 0, *image.size))
        self._left = b""
        self._has_ended = False

    def feed(self, piece: bytes) -> bool:
        """Feed bytes; return whether all so far is used up, or not needed any more. ValueError if libjpeg gives up."""
        if not self._has_ended:
            self._left += piece
            used, error = self._decoder.decode(self._left)
            if error < 0:
                raise ValueError("libjpeg gives up")
            self._has_ended = used < 0
            self._left = b"" if self._has_ended else self._left[used:]
        return not self._left

    def feed_data(self, data: bytes) -> str:
        """Feed entropy-coded data, all up to the next marker; return what is wrong with them, in words."""
        # Zeros are what some cameras pad with, what flat pictures are coded as, and what damaged disks give.
        padding = len(data) - len(data.rstrip(b"\0"))
        if padding > 2 * _TOLERATED:
            data, rest = data[: _TOLERATED - padding], data[_TOLERATED - padding :]
            self.feed(data)
            if self._takes_all(rest):
                return ""
            data = rest[3:]
        if len(data) > _TOLERATED:
            data, rest = data[:-_TOLERATED], data[-_TOLERATED:]
            self.feed(data)
            if self._takes_all(rest):
                return "its data go on behind the picture"
            data = rest[sum(map(len, _UNIT.findall(rest)[:3])) :]
        self.feed(data + _FILL * 8)
        return "" if self._takes_all(_FILL * 3) else "its data end before the picture does"

    def _takes_all(self, data: bytes) -> bool:
        """Feed three bytes one by one; while a block is waited for, libjpeg takes none of them, or several at once."""
        return all([self.feed(unit) for unit in _UNIT.findall(data)[:3]])
