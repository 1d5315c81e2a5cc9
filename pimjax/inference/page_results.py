"""What the page shows of one photo: pictures, figures, a sentence, and the files to download."""

import json
import math
import shutil
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pimjax.data.images import DecodedPhoto, ImageError, decode_photo, read_bytes, read_header, write_png
from pimjax.files import write_text
from pimjax.inference.localizer import Localization, Localizer
from pimjax.inference.outputs import gray, measure
from pimjax.inference.page_guard import MOST_BYTES
from pimjax.inference.score_reference import describe_score
from pimjax.visualize import overlay

MOST_PIXELS = 64_000_000  # of a photo
SHOWN = 1600  # pixels of the longer side on the page; downloads are of the photo's size
VIEWS = ("Heat map", "Probability", "Boundary", "Photo")


class Shown(NamedTuple):
    """One photo's results, kept between clicks of a visitor."""

    photo: np.ndarray  # uint8 RGB [h, w, 3], at most SHOWN pixels a side
    probability: np.ndarray  # float32 [h, w]
    boundary: np.ndarray | None
    score: float
    meaning: str
    model_sha256: str
    folder: Path  # of what is to be downloaded
    name: str  # of the photo's file
    number: int  # of the upload, as `Work.begin` gave it
    notes: tuple[str, ...] = ()  # on the file


def read_upload(path: Path) -> DecodedPhoto:
    """Return the photo as stored; raise an ImageError that names it by its name alone if it cannot be used."""
    size = path.stat().st_size
    if size == 0:
        raise ImageError(f"{path.name}: empty; was it copied to its end?")
    if size > MOST_BYTES:
        raise ImageError(f"{path.name}: larger than {MOST_BYTES >> 20} MB; use pimjax predict")
    encoded = read_bytes(path)
    header = read_header(encoded, path.name)
    if header.width * header.height > MOST_PIXELS:
        raise ImageError(
            f"{path.name}: {header.width}×{header.height} is more than {MOST_PIXELS // 10**6} million pixels; "
            "use pimjax predict"
        )
    return decode_photo(encoded, path.name)


def keep(
    found: Localization, localizer: Localizer, folder: Path, name: str, number: int, notes: tuple[str, ...]
) -> Shown:
    """Write the map to download into `folder`, and return what is shown.

    Raises:
        ImageError: the model gave no numbers.
    """
    if not math.isfinite(found.score):
        raise ImageError(f"{name}: the model gave NaN or infinity; its weights may be damaged, get them again")
    write_png(folder / f"{Path(name).stem}_probability.png", gray(found.probability, 16))
    photo, probability = _page_sized(found.photo), _page_sized(found.probability)
    boundary = None if found.boundary is None else _page_sized(found.boundary)
    meaning = describe_score(found.score, localizer.card)
    return Shown(photo, probability, boundary, found.score, meaning, localizer.hash, folder, name, number, notes)


def forget(shown: Shown | None) -> None:
    """Delete what was written for a visitor who has left, or looks at another photo."""
    if shown is not None:
        shutil.rmtree(shown.folder, ignore_errors=True)


def _page_sized(map_: np.ndarray) -> np.ndarray:
    scale = SHOWN / max(map_.shape[:2])
    return map_ if scale >= 1 else cv2.resize(map_, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def picture(shown: Shown, view: str, opacity: float, threshold: float) -> np.ndarray:
    """Return one of VIEWS as uint8 RGB [h, w, 3]."""
    if view == "Heat map":
        return overlay(shown.photo, shown.probability, threshold, opacity)
    map_ = {"Probability": shown.probability, "Boundary": shown.boundary}.get(view)
    return shown.photo if map_ is None else cv2.cvtColor(gray(map_), cv2.COLOR_GRAY2RGB)


def figures(shown: Shown, threshold: float) -> tuple[str, list[str]]:
    """Return what is said of the photo at a threshold, as Markdown, and the files to download.

    Raises:
        OSError: they were deleted, the visitor having left or given another photo.
    """
    where = shown.folder / Path(shown.name).stem
    files = [where.with_name(where.name + end) for end in ("_probability.png", "_mask.png", ".json")]
    written = np.frombuffer(files[0].read_bytes(), np.uint8)
    probability = np.asarray(cv2.imdecode(written, cv2.IMREAD_UNCHANGED)) / np.float32(65535)
    write_png(files[1], (probability > threshold).view(np.uint8) * np.uint8(255))
    record = {"photo": shown.name, **measure(probability, shown.score, threshold), "threshold": threshold}
    record |= {"meaning": shown.meaning, "model_sha256": shown.model_sha256, "notes": list(shown.notes)}
    write_text(files[2], json.dumps(record, indent=1))
    lines = [
        f"**Score {shown.score:.2f}**, {record['area']:.1%} of the pixels above {threshold:.2f}.",
        *(f"**Note:** {plain(note)}" for note in shown.notes),
        shown.meaning,
    ]
    return "\n\n".join(lines), [str(file) for file in files]


def plain(text: str) -> str:
    """Return text, such as a file's name, that Markdown shows as it is."""
    return "".join(f"&#{ord(c)};" if c in "\\`*_{}[]()<>#+-!|~&" else c for c in text)
