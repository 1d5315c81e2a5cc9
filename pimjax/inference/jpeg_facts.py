"""What a JPEG file tells of how it was saved: quantization, chroma, scans, and what lies around the picture."""

import numpy as np
from PIL import Image

from pimjax.jpeg import scans
from pimjax.jpeg.tables import CHROMA_TABLE, LUMA_TABLE, scaled

_SAMPLING = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1"}
_QUALITIES = range(1, 101)


def jpeg_facts(encoded: bytes, image: Image.Image) -> list[tuple[str, str, str]]:
    """Return (topic, finding, meaning) of a JPEG file."""
    found = []
    tables = getattr(image, "quantization", {})
    if 0 in tables:
        found.append(("compression", *_tables(np.array(tables[0]), tables.get(1))))
    frame = scans.read_frame(encoded)
    if frame:
        factors = list(frame.components.values())
        if len(factors) == 3:
            across, down = factors[0][0] // max(factors[1][0], 1), factors[0][1] // max(factors[1][1], 1)
            chroma = _SAMPLING.get((across, down), f"{across}×{down}")
            found.append(("compression", f"chroma {chroma}", "cameras and networks mostly use 4:2:0 or 4:2:2"))
        elif len(factors) == 1:
            found.append(("compression", "gray, no chroma", ""))
        if frame.marker == 0xC2:
            found.append(("compression", "progressive", "cameras hardly write it; websites and editors do"))
    return found + _leftovers(encoded)


def _tables(luma: np.ndarray, chroma: list[int] | None) -> tuple[str, str]:
    """Say whose the tables of steps are, and how strongly they compress."""
    quality, exact = nearest_quality(luma, LUMA_TABLE)
    if exact and (chroma is None or (scaled(CHROMA_TABLE, quality) == np.array(chroma)).all()):
        return f"the standard's tables, quality {quality}", "libjpeg's, which most programs and networks use"
    what = "cameras, phones and some editors bring such; whose these are is not known here"
    return f"tables of its own, about as strong as quality {quality}", what


def nearest_quality(steps: np.ndarray, table: np.ndarray) -> tuple[int, bool]:
    """Return the quality 1..100 whose standard steps are nearest to `steps` int [64], and whether they are the same."""
    errors = [np.abs(np.log(scaled(table, quality) / np.maximum(steps, 1))).mean() for quality in _QUALITIES]
    quality = _QUALITIES[int(np.argmin(errors))]
    return quality, bool((scaled(table, quality) == steps).all())


def _leftovers(encoded: bytes) -> list[tuple[str, str, str]]:
    found = []
    last = max(
        (segment.end for segment in scans.segments(encoded) if segment.marker == scans.EOI), default=len(encoded)
    )
    rest = encoded[last:].rstrip(b"\0")
    if rest:
        begins = "which begin like a JPEG" if rest.startswith(b"\xff\xd8\xff") else "of another kind"
        what = "phones keep depth maps and films there, others hide files; no part of the picture shown"
        found.append(("leftovers", f"{len(rest):,} bytes behind the picture, {begins}", what))
    if b"FBMD" in encoded[:65536]:
        found.append(("leftovers", "the mark FBMD", "it went through Facebook or Instagram, which save again"))
    if b"Photoshop 3.0\x00" in encoded[:65536]:
        found.append(
            ("leftovers", "a block of Photoshop's kind (8BIM)", "editors, and news agencies' captions, write it")
        )
    return found
