"""A predictor on a dataset, image by image: every convention's scores, what the map says of the image, a picture."""

import math
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from pimjax.data.images import ImageError, read_header
from pimjax.data.mask_checks import gray_share
from pimjax.data.sources import Encoded, Example, Source, decode_example
from pimjax.data.transforms import in_proportion, resize, target_mask
from pimjax.evaluation.predictors import Prediction, Predictor
from pimjax.evaluation.record import PICTURE, Record
from pimjax.evaluation.results import ImageRow
from pimjax.files import Row, printable, write_bytes
from pimjax.metrics.confusion import Confusion
from pimjax.metrics.conventions import (
    CONVENTIONS,
    IMAGE_SCORES,
    RESOLUTIONS,
    benco_variants,
    image_score,
    score,
)
from pimjax.metrics.pooled import pool
from pimjax.terminal import bar_interval, warn
from pimjax.versions import versions
from pimjax.visualize import heat, overlay

SIDE = 256  # of a picture's longer side, in pixels
Change = Callable[[Example, int], Example]  # of an example, given its number, before a predictor sees it


def evaluate(
    predictor: Predictor,
    source: Source,
    folder: Path,
    threshold: float = 0.5,
    change: Change | None = None,
    pictures: bool = True,
    about: dict[str, Any] | None = None,
) -> tuple[list[ImageRow], list[str]]:
    """Score `predictor` on every example of `source`; what `folder` has of the same files is not computed again.

    Args:
        predictor: who is scored.
        source: the dataset.
        folder: for images.jsonl, images.csv and pictures.
        threshold: a prediction strictly above it is positive.
        change: what is done to an example, given its number, before the predictor sees it and it is scored.
        pictures: whether to write a strip (image, truth, map, overlay) of every image.
        about: what else tells these results from others.

    Returns:
        a row for each scored image, as `score_example` makes it, and an error message for each of the others.

    Raises:
        ValueError: `folder` has the results of something else.
    """
    errors: list[str] = []
    with Record(folder, settings(predictor, threshold, about), len(source) if pictures else 0) as record:
        known = (_is_known(record.rows.get(number), predictor, source, number) for number in range(len(source)))
        left = [number for number, done in enumerate(known) if not done]
        bar = tqdm(
            left,
            desc=printable(f"{predictor.name} on {folder.name}"),
            initial=len(source) - len(left),
            total=len(source),
            unit="image",
            dynamic_ncols=True,
            mininterval=bar_interval(),
        )
        for number in bar:
            try:
                row = _row(predictor, source.encoded(number), number, threshold, change, folder if pictures else None)
            except ImageError as error:
                errors.append(str(error))
                warn(f"error: {error}")
                record.rows.pop(number, None)  # of what was there before
            else:
                record.add(row)
        return record.finish(len(source)), errors


def settings(predictor: Predictor, threshold: float, about: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what tells the results of `evaluate` with these arguments from others."""
    return {"threshold": threshold, "versions": versions(), **predictor.about, **(about or {})}


def _is_known(row: ImageRow | None, predictor: Predictor, source: Source, number: int) -> bool:
    try:
        return row is not None and (row.input, row.version) == _origin(predictor, source.encoded(number))
    except ImageError:
        return False


def _origin(predictor: Predictor, encoded: Encoded) -> tuple[str, str]:
    """Return what tells whether an image's row still is of the same files, the same label and the same map."""
    files = "-".join(f"{zlib.crc32(content):08x}" for content in (encoded.image, encoded.mask or b""))
    label = "" if encoded.label is None else f"-{encoded.label:d}"  # which the mask must not contradict
    return files + label, predictor.version(encoded.id)


def _row(
    predictor: Predictor,
    encoded: Encoded,
    number: int,
    threshold: float,
    change: Change | None,
    pictures: Path | None,
) -> ImageRow:
    (files, version), orientation = _origin(predictor, encoded), read_header(encoded.image, encoded.id).orientation
    example = decode_example(encoded) | {"orientation": orientation, "mask_id": encoded.mask_id, "file": encoded.image}
    start = time.perf_counter()
    try:
        shown = change(example, number) if change else example
        prediction = predictor.predict(shown)
        seconds = time.perf_counter() - start
        scored = score_example(shown, prediction, threshold, predictor.input_side)
    except Exception as error:  # whatever anyone's model does, the other images are scored
        what = str(error) if isinstance(error, ImageError) else f"{type(error).__name__}: {error}"
        raise ImageError(
            what if encoded.id in what else f"{encoded.id}: {predictor.name} failed on it ({what})"
        ) from None
    picture = PICTURE.format(number) if pictures else None
    if pictures and picture:
        write_strip(pictures / picture, shown, prediction, threshold)
    return ImageRow(
        number=number,
        id=encoded.id,
        input=files,
        version=version,
        orientation=orientation,
        seconds=round(seconds, 4),
        picture=picture,
        **_mask_facts(encoded, example["mask"]),
        **scored,
    )


def _mask_facts(encoded: Encoded, mask: np.ndarray) -> Row:
    """Return what `pimjax.evaluation.caveats` judges a mask by; "mask_format" is "" of an authentic image."""
    if encoded.mask is None:
        return {"mask_format": "", "mask_gray": 0.0, "mask_scaled": False}
    header = read_header(encoded.mask, encoded.mask_id)
    scaled = (header.height, header.width) != mask.shape
    return {"mask_format": header.format, "mask_gray": round(gray_share(mask), 6), "mask_scaled": scaled}


def score_example(
    example: Example, prediction: Prediction, threshold: float, input_side: int | None = None
) -> dict[str, Any]:
    """Return what an `ImageRow` says of the map: sizes, scores, confusion, histogram; `input_side` as of `Predictor`.

    Each convention is scored at its own resolution (`pimjax.metrics.conventions.RESOLUTIONS`); where the network has no
    input size of its own, "input" is the image's.

    Raises:
        ImageError: the map is neither square nor of the image's proportions.
    """
    mask, own = example["mask"], prediction.map
    (H, W), (h, w) = mask.shape, own.shape
    if h != w and not in_proportion(own.shape, mask.shape):  # square is what networks make of any image
        raise ImageError(f"{example['id']}: its map is {w}×{h} pixels, the image {W}×{H}, of another shape; is it its?")
    truth, full = mask > 127, enlarged(prediction, H, W)
    made = own if prediction.full is None else full

    def at(resolution: str | int) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(resolution, int):
            small = resize(made, resolution, resolution).clip(0, 1)
            return small, target_mask(mask, resolution, resolution)
        return {"map": (made, truth), "input": _at_input(full, truth, input_side), "image": (full, truth)}[resolution]

    found = {
        convention: score(*at(resolution), convention, threshold)
        for convention, resolution in RESOLUTIONS.items()
        if resolution != "input"
    } | benco_variants(*at("input"), threshold)
    scores: dict[str, float | None] = {}
    for convention in CONVENTIONS:
        for name, value in found[convention].items():
            scores[f"{convention}.{name}"] = None if math.isnan(value) else value
    scores |= {f"image.{reduction}": image_score(own, reduction) for reduction in IMAGE_SCORES}
    pooled = pool(full, truth, threshold)
    return {
        "manipulated": bool(truth.any()),
        "height": H,
        "width": W,
        "map_height": h,
        "map_width": w,
        "map_values": values_of(own),
        "scores": scores,
        "confusion": Confusion(*pooled.confusion),
        "histogram": pooled.histogram.tolist(),
    }


def values_of(map_: np.ndarray) -> int:
    """Return how many different values a map has: 1, 2, or 3 for all that is more."""
    others = map_[(map_ != map_.min()) & (map_ != map_.max())]
    return 3 if others.size else 1 + int(map_.min() != map_.max())


def _at_input(full: np.ndarray, truth: np.ndarray, side: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Scale map and truth, [H, W], to the size of the network's input: bilinearly, and as the nearest pixel."""
    if side is None:
        return full, truth
    resized = cv2.resize(truth.view(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.clip(cv2.resize(full, (side, side), interpolation=cv2.INTER_LINEAR), 0, 1), resized.astype(bool)


def enlarged(prediction: Prediction, height: int, width: int) -> np.ndarray:
    """Scale the map to the image's size, float32 [height, width], bilinearly."""
    map_ = prediction.map if prediction.full is None else prediction.full
    if map_.shape == (height, width):
        return map_
    return np.clip(cv2.resize(map_, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


def write_strip(path: Path, example: Example, prediction: Prediction, threshold: float) -> None:
    """Write a JPEG of image, truth, map and overlay, side by side."""
    H, W = example["mask"].shape
    scale = min(1, SIDE / max(H, W))
    size = max(1, round(W * scale)), max(1, round(H * scale))
    photo, mask = (cv2.resize(example[key], size, interpolation=cv2.INTER_AREA) for key in ("image", "mask"))
    map_ = np.clip(cv2.resize(enlarged(prediction, H, W), size, interpolation=cv2.INTER_AREA), 0, 1)
    gap = np.full((size[1], 4, 3), 255, np.uint8)
    cells = photo, cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), heat(map_), overlay(photo, map_, threshold)
    strip = np.hstack([part for cell in cells for part in (cell, gap)][:-1])
    ok, encoded = cv2.imencode(".jpg", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 85))
    if not ok:
        raise OSError(f"{path}: JPEG encoding failed")
    write_bytes(path, encoded.data, ours=True)  # what was there, `reserve` has looked at
