"""Contact sheets of data: checked examples, and what training makes of photographs."""

import json
import os
from collections.abc import Sequence

import cv2
import numpy as np

from pimjax.data.pipeline import TrainTransform
from pimjax.data.sources import SkipUnreadable, Source
from pimjax.data.stages import stages
from pimjax.data_checks.facts import Facts
from pimjax.visualize import contact_sheet, overlay


def checked_sheet(source: Source, facts: Sequence[Facts], rows: int = 8) -> np.ndarray:
    """Return overlays, with their names, of the masks that fit best, of those that fit worst, of some. uint8 RGB."""
    alignments = [(fact.mask_alignment, fact) for fact in facts if fact.mask_alignment is not None]
    fitting = [fact for _, fact in sorted(alignments, key=lambda pair: -pair[0])]
    usable = [fact for fact in facts if not fact.error]
    picked = np.random.default_rng(0).permutation(len(usable))[:rows]
    columns = {
        "best fit": fitting[:rows],
        "worst fit": fitting[::-1][:rows],
        "random": [usable[i] for i in picked],
    }
    common = os.path.commonprefix([fact.id for fact in usable])  # noqa: RUF071
    folder = common[: common.rfind("/") + 1]  # of all: it tells none from another
    names = {label: [fact.id.removeprefix(folder) for fact in chosen] for label, chosen in columns.items() if chosen}
    columns = {label: [_overlay(source, fact) for fact in chosen] for label, chosen in columns.items() if chosen}
    blank = np.full((8, 8, 3), 255, np.uint8)
    most = max(map(len, columns.values()), default=0)
    if not most:
        return blank
    columns = {label: shown + [blank] * (most - len(shown)) for label, shown in columns.items()}
    return contact_sheet(columns, cell=220, names=names)


def _overlay(source: Source, fact: Facts) -> np.ndarray:
    example = source[fact.index]
    return overlay(_shrink(example["image"]), (_shrink(example["mask"]) > 127).astype(np.float32))


def _shrink(picture: np.ndarray, side: int = 220) -> np.ndarray:
    """Shrink a picture to the size at which it is shown: a sheet of photographs at full size fills the memory."""
    scale = side / max(picture.shape[:2])
    size = [max(1, round(n * scale)) for n in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture


def caption_of(recipe: str) -> str:
    """Return a recipe of `pimjax.data.pida` in a few words."""
    if not recipe:
        return ""
    parts = {"kind": "authentic"} | json.loads(recipe)
    numbers = [f"{name} {value:.3g}" for name, value in parts.items() if isinstance(value, int | float) and value]
    return f"{parts['kind']} ({', '.join(numbers)})" if numbers else parts["kind"]


def preview_sheet(sources: Sequence[Source], transform: TrainTransform, seed: int, rows: int = 12) -> np.ndarray:
    """Return what training makes of photographs, a row each: pristine, forged, their difference ×8, mask, boundary.
    uint8 RGB.

    Raises:
        ValueError: no photograph can be read.
    """
    rng = np.random.default_rng(seed)
    columns: dict[str, list[np.ndarray]] = {}
    captions = []
    for number in range(rows):
        source = SkipUnreadable(sources[number % len(sources)])
        crop_and_degrade, forge, post_process, targets = stages(transform.data, transform.pida, transform.donors)
        pristine = crop_and_degrade(source[int(rng.integers(len(source)))], rng)
        forged = post_process(forge(pristine, rng), rng)
        sample = targets(forged, rng)
        before = pristine["image"]
        if before.shape != forged["image"].shape:
            before = cv2.resize(before, forged["image"].shape[1::-1], interpolation=cv2.INTER_AREA)
        difference = _shrink(cv2.absdiff(forged["image"], before).max(-1)) * (8 / 255)
        row = {
            "photograph": _shrink(pristine["image"]),
            "training image": _shrink(sample["image"]),
            "difference x8": difference,
            "mask": _shrink(forged["mask"]) / 255,
            "boundary": sample["boundary"].astype(np.float32),
        }
        for label, picture in row.items():
            columns.setdefault(label, []).append(picture)
        captions.append(
            caption_of(forged["recipe"]) or ("as it is, manipulated" if forged["mask"].any() else "as it is")
        )
    return contact_sheet(columns, captions, cell=200)
