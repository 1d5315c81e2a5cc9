"""The stages of a training image: `crop_and_degrade`, forge, post-process, `targets`; each (example, rng) → example."""

import dataclasses
import functools
import math
from collections.abc import Callable

import cv2
import numpy as np

from pimjax.config import DataConfig, PidaConfig
from pimjax.data import pida
from pimjax.data.degradation import degraded_crop
from pimjax.data.donors import Donors
from pimjax.data.masks import boundary_band, is_manipulated
from pimjax.data.sources import Example
from pimjax.data.transforms import STRIDE, crop_square, resize, target_mask, to_uint8
from pimjax.data.uploads import draw_uploads, send, side_before
from pimjax.normalization import normalize

Stage = Callable[[Example, np.random.Generator], Example]
MAPS = ("image", "before", "mask", "segments")  # what of an example is cut and flipped together


def stages(
    data: DataConfig, config: PidaConfig, donors: Donors | None = None, validation: bool = False
) -> tuple[Stage, Stage, Stage, Stage]:
    """Return the four stages of a training image, in order.

    Args:
        data: size, crop or resize, flips.
        config: of the forgeries and of what happens before and after them.
        donors: whose photographs forgeries may take from.
        validation: every authentic photograph is forged, and none is flipped.
    """
    forging = pida.forge if validation else pida.pida
    data = dataclasses.replace(data, flip=data.flip and not validation)
    return (
        functools.partial(crop_and_degrade, data=data, config=config),
        functools.partial(forge, forging=functools.partial(forging, config=config, donors=donors)),
        functools.partial(post_process, data=data, config=config),
        functools.partial(targets, data=data),
    )


def crop_and_degrade(example: Example, rng: np.random.Generator, data: DataConfig, config: PidaConfig) -> Example:
    """Cut a square of native pixels, an authentic one with a history of its own; flip it now and then.

    Where the model resizes, the example stays whole. "manipulated" tells whether it was before it was cut; "scale" and
    "uploads", by what it will be scaled at the end and what then becomes of the file: the square is so much larger.
    """
    manipulated, scale = is_manipulated(example["mask"]), pida.after_factor(rng, config)
    uploads = draw_uploads(rng, config.uploads) if data.resize_mode == "crop" else ()
    if data.resize_mode == "crop" and manipulated:
        example = square(example, data.image_size, rng)
    elif data.resize_mode == "crop":
        side = math.ceil(side_before(data.image_size, uploads) / scale)
        example = degraded_crop(example, side, rng, config.degradation)
    if data.flip and rng.random() < 0.5:
        example = example | {key: cv2.flip(example[key], 1) for key in MAPS if key in example}
    return example | {"manipulated": manipulated, "scale": scale, "uploads": uploads}


def forge(example: Example, rng: np.random.Generator, forging: Stage) -> Example:
    """Make a forgery of an authentic example, or leave it, as `forging` decides; "recipe" says what was done.

    A crop that misses the mask of a manipulated photograph is a sample without manipulation, not one to forge again.
    """
    return example | {"recipe": ""} if example["manipulated"] else forging(example, rng)


def post_process(example: Example, rng: np.random.Generator, data: DataConfig, config: PidaConfig) -> Example:
    """Scale, compress and send on an authentic or forged example; what was scaled or cut needs its square again."""
    if example["manipulated"]:
        return example
    example = pida.post_process(example, rng, config, example["scale"])
    if example["uploads"]:
        image, mask = send(example["image"], example["mask"], example["uploads"], rng, config.uploads)
        # From the corner: where the last program put JPEG's grid.
        return square(example | {"image": image, "mask": mask}, data.image_size)
    return square(example, data.image_size, rng) if data.resize_mode == "crop" else example


def targets(example: Example, rng: np.random.Generator | None, data: DataConfig) -> Example:
    """Return network input and targets of an example whose image is square of `data.image_size`, or is made so here.

    Returns "image" uint8 [S, S, 3], "mask" and "boundary" uint8 0/1 [s, s], the mask also as "full" [S, S], "target"
    float32 [s, s, 3] (the normalized image that the image decoder should reconstruct), s = S/4, and the strings "id",
    "recipe" and (from a `SkipUnreadable`) "skipped". The image is rounded to uint8 to travel to the device: up to 0.009
    of the normalized input's unit away from the released preprocessing, which does not round.
    """
    image, mask, size = example["image"], example["mask"], data.image_size
    s = -(-size // STRIDE)
    # Targets come from the photo's own resolution, as in the released preprocessing, except the boundary: its width
    # is counted in pixels of the network input.
    full = target_mask(mask, size, size)
    band = boundary_band(full, data.boundary_width)
    return {
        "image": image if image.shape[:2] == (size, size) else to_uint8(resize(image, size, size)),
        "mask": target_mask(mask, s, s),
        "full": full,
        "boundary": target_mask(band.view(np.uint8) * np.uint8(255), s, s),
        "target": normalize(resize(image, s, s)),
        "id": example["id"],
        "recipe": example["recipe"],
        "skipped": example.get("skipped", ""),
    }


def square(
    example: Example, side: int, rng: np.random.Generator | None = None, center: tuple[float, float] = (0, 0)
) -> Example:
    """Cut side×side pixels out of an example: at random, or around `center` (y, x) where there is no `rng`."""
    if rng is not None:
        y, x = rng.random(2) * example["mask"].shape
        center = float(y), float(x)
    cut = crop_square({key: example[key] for key in MAPS if key in example}, side, center)
    return example | {key: np.ascontiguousarray(array) for key, array in cut.items()}
