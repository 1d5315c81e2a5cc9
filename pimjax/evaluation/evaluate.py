"""An entrant on a set, image by image: every convention's scores, what the map says of the image, a picture."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from pimjax.data.images import ImageError
from pimjax.data.sources import Example, Source
from pimjax.data.transforms import in_proportion, target_mask
from pimjax.evaluation.entrants import Entrant, Prediction
from pimjax.evaluation.metrics import CONVENTIONS, IMAGE_SCORES, image_score, score
from pimjax.evaluation.pooled import pool
from pimjax.evaluation.record import Record, Row
from pimjax.pictures import heat, overlay

SIDE = 256  # of a picture's longer side, in pixels


def evaluate(
    entrant: Entrant,
    source: Source,
    folder: Path,
    threshold: float = 0.5,
    change: Callable[[Example, int], Example] | None = None,
    pictures: bool = True,
    about: dict[str, Any] | None = None,
) -> tuple[list[Row], list[str]]:
    """Scores `entrant` on every example of `source`; what `folder` has already is not computed again.

    Args:
        entrant: who is scored.
        source: the set.
        folder: for images.jsonl, images.csv and pictures.
        threshold: a prediction strictly above it is positive.
        change: what is done to an example, given its number, before the entrant sees it; the mask stays.
        pictures: whether to write a strip (image, truth, map, overlay) of every image.
        about: what else tells these results from others.

    Returns:
        a row for each scored image, as `score_example` makes it, and an error message for each of the others.

    Raises:
        ValueError: `folder` has the results of something else.
    """
    about = {"source": source.name, "examples": len(source), "threshold": threshold, **entrant.about, **(about or {})}
    record = Record(folder, about)
    errors = []
    left = [number for number in range(len(source)) if number not in record.rows]
    what = {"desc": f"{entrant.name} on {folder.name}", "unit": "image", "dynamic_ncols": True}
    for number in tqdm(left, initial=len(record.rows), total=len(source), **what):
        try:
            example = source[number]
            start = time.perf_counter()
            prediction = entrant.predict(change(example, number) if change else example)
            seconds = time.perf_counter() - start
            row = score_example(example, prediction, threshold)
        except ImageError as error:
            errors.append(str(error))
            tqdm.write(f"error: {error}")
            continue
        row = {"number": number, "id": str(example["id"])} | row | {"seconds": round(seconds, 4)}
        if pictures:
            row["picture"] = f"pictures/{number:06d}.jpg"
            write_strip(folder / row["picture"], example, prediction, threshold)
        record.add(row)
    return record.finish(), errors


def score_example(example: Example, prediction: Prediction, threshold: float) -> Row:
    """One image's row.

    "manipulated", "height", "width", "map_height", "map_width" (pixels); "CONVENTION.METRIC" for all of
    `pimjax.evaluation.metrics.CONVENTIONS` ("pim" at the map's size, the others at the image's), None where undefined;
    "image.max", "image.top1", "image.logit"; "tp", "fp", "fn", "tn" (pixels at the image's size); "histogram", that of
    `pimjax.evaluation.pooled.Pooled`.

    Raises:
        ImageError: the map is neither square nor of the image's proportions.
    """
    mask, own = example["mask"], prediction.map
    (H, W), (h, w) = mask.shape, own.shape
    if h != w and not in_proportion(own.shape, mask.shape):  # square is what networks make of any image
        raise ImageError(f"{example['id']}: its map is {w}×{h} pixels, the image {W}×{H}, of another shape; is it its?")
    truth, full = mask > 127, enlarged(prediction, H, W)
    row: Row = {"manipulated": bool(truth.any()), "height": H, "width": W, "map_height": h, "map_width": w}
    for convention in CONVENTIONS:
        pair = full, truth
        if convention == "pim":
            pair = own, truth if own.shape == truth.shape else target_mask(mask, h, w)
        elif convention == "pim-fullsize" and prediction.full is None:
            pair = own, truth  # it has its own way to enlarge
        for name, value in score(*pair, convention, threshold).items():
            row[f"{convention}.{name}"] = None if math.isnan(value) else value
    row |= {f"image.{how}": image_score(own, how) for how in IMAGE_SCORES}
    pooled = pool(full, truth, threshold)
    row |= dict(zip(("tp", "fp", "fn", "tn"), pooled.counts.tolist(), strict=True))
    return row | {"histogram": pooled.histogram.tolist()}


def enlarged(prediction: Prediction, height: int, width: int) -> np.ndarray:
    """The map at the image's size, float32 [height, width], bilinearly."""
    map_ = prediction.map if prediction.full is None else prediction.full
    if map_.shape == (height, width):
        return map_
    return np.clip(cv2.resize(map_, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


def write_strip(path: Path, example: Example, prediction: Prediction, threshold: float) -> None:
    """A JPEG of image, truth, map and overlay, side by side."""
    H, W = example["mask"].shape
    scale = min(1, SIDE / max(H, W))
    size = max(1, round(W * scale)), max(1, round(H * scale))
    photo, mask = (cv2.resize(example[key], size, interpolation=cv2.INTER_AREA) for key in ("image", "mask"))
    map_ = np.clip(cv2.resize(enlarged(prediction, H, W), size, interpolation=cv2.INTER_AREA), 0, 1)
    gap = np.full((size[1], 4, 3), 255, np.uint8)
    cells = photo, cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), heat(map_), overlay(photo, map_, threshold)
    strip = np.hstack([part for cell in cells for part in (cell, gap)][:-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, encoded = cv2.imencode(".jpg", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 85))
    if not ok:
        raise OSError(f"{path}: JPEG encoding failed")
    path.write_bytes(encoded.tobytes())
