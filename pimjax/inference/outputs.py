"""What is written of a localized photo: maps, pictures, and a row of figures."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pimjax.data.images import encode_png
from pimjax.data.map_frame import Frame, with_text
from pimjax.files import ForeignFileError, atomic_path, claim, write_bytes
from pimjax.inference.localizer import Localization
from pimjax.visualize import overlay, strips

DETAILS = ("boundary", "reconstruction")  # which other decoders give
MOST_BOXES = 100  # a noisy map has thousands of specks


def write_outputs(
    result: Localization,
    where: Path,
    outputs: Iterable[str],
    threshold: float,
    bits: int = 8,
    orientation: int = 1,
    ours: Collection[str] = (),
) -> dict[str, str]:
    """Write files beginning with `where`, one per output, at the photo's size; return their names by output.

    "probability" (gray PNG of 8 or 16 `bits`: 0 … 255 or 65535), "overlay" (RGB PNG), "mask" (PNG, 255 above
    `threshold`), "npy" (the probability, float32 [H, W]), "boundary" (as the probability), "reconstruction" (RGB PNG).

    All are upright, and PNGs say so in text (`pimjax.data.map_frame`), with the EXIF `orientation` of the stored
    pixels. A .npy file has no room for it: the photo's row says it of all of its files. Existing files are replaced if
    pimjax wrote them, or their absolute paths are among `ours`.

    Raises:
        pimjax.files.ForeignFileError: a file of that name is there that pimjax did not write.
        OSError: a file cannot be written.
    """
    files, text = {}, Frame("upright", orientation).text()
    for output in outputs:
        path = output_path(where, output)
        old = os.path.abspath(path) in ours
        if output == "npy":
            with atomic_path(path, old) as temporary:
                np.save(temporary, result.probability)
        elif (picture := _picture(result, output, threshold, bits)) is not None:
            write_bytes(path, with_text(encode_png(picture), text), old)
        else:
            continue  # the model has no such decoder
        files[output] = str(path)
    return files


def output_path(where: Path, output: str) -> Path:
    """Return the path that an output of the photo whose results begin with `where` is written to."""
    return where.with_name(f"{where.name}_{output}.png" if output != "npy" else f"{where.name}.npy")


def refuse_foreign(paths: Iterable[Path], ours: Collection[str]) -> None:
    """Raise ForeignFileError, naming the first and their number, if files are in the way that pimjax did not write."""
    first, count = None, 0
    for path in paths:
        try:
            claim(path, os.path.abspath(path) in ours)
        except ForeignFileError as error:
            first, count = first or error, count + 1
    if count > 1:
        raise ForeignFileError(f"{first} ({count} such files are in the way)")
    if first:
        raise first


def _picture(result: Localization, output: str, threshold: float, bits: int) -> np.ndarray | None:
    if output == "probability":
        return gray(result.probability, bits)
    if output == "overlay":
        return overlay(result.photo, result.probability, threshold)
    if output == "mask":
        return (result.probability > threshold).view(np.uint8) * np.uint8(255)
    if output == "boundary":
        return None if result.boundary is None else gray(result.boundary, bits)
    return result.reconstruction


def gray(probability: np.ndarray, bits: int = 8) -> np.ndarray:
    """Scale 0..1 to 0..255 uint8 or 0..65535 uint16, rounded."""
    levels = np.empty(probability.shape, np.uint8 if bits == 8 else np.uint16)
    for rows in strips(len(levels)):
        levels[rows] = np.rint(probability[rows] * (2**bits - 1))
    return levels


def measure(probability: np.ndarray, score: float, threshold: float) -> dict[str, Any]:
    """Return the figures of a photo, from its probability [H, W] and `Localization.score`.

    "width", "height" in pixels; "score" as `Localization.score`; "area", the share of pixels above `threshold`;
    "regions", how many connected ones lie above it, and "boxes", the largest of them: "x", "y", "width", "height",
    "pixels", and "score", the largest probability in it.
    """
    H, W = probability.shape
    marked = probability > threshold
    count, labels, stats, _ = cv2.connectedComponentsWithStats(marked.view(np.uint8))
    order = (1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable"))[:MOST_BOXES]
    boxes = []
    for label in order:
        x, y, width, height, pixels = stats[label].tolist()
        part = np.s_[y : y + height, x : x + width]
        largest = cv2.minMaxLoc(probability[part], (labels[part] == label).view(np.uint8))[1]
        boxes.append({"x": x, "y": y, "width": width, "height": height, "pixels": pixels, "score": round(largest, 4)})
    return {
        "width": W,
        "height": H,
        "score": round(score, 6),
        "area": round(float(marked.mean()), 6),
        "regions": count - 1,
        "boxes": boxes,
    }
