"""What is written of a localised photo: maps, pictures, and a row of figures."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pimjax.data.images import write_png
from pimjax.inference.localizer import Localization
from pimjax.pictures import overlay

DETAILS = ("boundary", "reconstruction")  # which other decoders give
MOST_BOXES = 100  # a noisy map has thousands of specks


def write_outputs(
    result: Localization, where: Path, outputs: tuple[str, ...], threshold: float, bits: int = 8
) -> dict[str, str]:
    """Writes files beginning with `where`, one per output, at the photo's size; returns their names by output.

    "probability" (grey PNG of 8 or 16 `bits`: 0 … 255 or 65535), "overlay" (RGB PNG), "mask" (PNG, 255 above
    `threshold`), "npy" (the probability, float32 [H, W]), "boundary" (as the probability), "reconstruction" (RGB PNG).

    Raises:
        OSError: a file cannot be written.
    """
    files = {}
    for output in outputs:
        path = where.with_name(f"{where.name}_{output}.png" if output != "npy" else f"{where.name}.npy")
        if output == "npy":
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, result.probability)
        elif (picture := _picture(result, output, threshold, bits)) is not None:
            write_png(path, picture)
        else:
            continue  # the model has no such decoder
        files[output] = str(path)
    return files


def _picture(result: Localization, output: str, threshold: float, bits: int) -> np.ndarray | None:
    if output == "probability":
        return grey(result.probability, bits)
    if output == "overlay":
        return overlay(result.photo, result.probability, threshold)
    if output == "mask":
        return (result.probability > threshold).astype(np.uint8) * np.uint8(255)
    if output == "boundary":
        return None if result.boundary is None else grey(result.boundary, bits)
    return result.reconstruction


def grey(probability: np.ndarray, bits: int = 8) -> np.ndarray:
    """0..1 → 0..255 uint8 or 0..65535 uint16, rounded."""
    return np.rint(probability * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def measure(probability: np.ndarray, score: float, threshold: float) -> dict[str, Any]:
    """Figures of a photo, from its probability [H, W] and `Localization.score`.

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
        largest = probability[part][labels[part] == label].max()
        boxes.append(
            {"x": x, "y": y, "width": width, "height": height, "pixels": pixels, "score": round(float(largest), 4)}
        )
    return {
        "width": W,
        "height": H,
        "score": round(score, 6),
        "area": round(float(marked.mean()), 6),
        "regions": count - 1,
        "boxes": boxes,
    }
