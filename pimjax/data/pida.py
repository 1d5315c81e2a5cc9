"""Pixel-inconsistency data augmentation (paper, section III-E): a photograph blended with its own perturbation.

Classical forgeries (`pimjax.data.forge`) are made beside it where the configuration gives them a weight.
"""

import json
from typing import Any

import cv2
import numpy as np

from pimjax.config import PerturbationConfig, PidaConfig
from pimjax.data import degradation, perturb
from pimjax.data.donors import Donors
from pimjax.data.forge import paste, remove
from pimjax.data.images import SMALLEST
from pimjax.data.masks import draw, is_manipulated, random_mask
from pimjax.data.sources import Example

LOWEST_AFTER = 70  # JPEG quality of the whole sample, at least


def perturb_image(
    image: np.ndarray, rng: np.random.Generator, config: PerturbationConfig
) -> tuple[np.ndarray, str, dict[str, float]]:
    """Return one member of the family, drawn by its weight: the perturbed uint8 image, its name and its parameters."""
    name = draw(rng, vars(config))
    perturbed, parameters = getattr(perturb, name)(image, rng)
    return perturbed, name, parameters


def blend(image: np.ndarray, perturbed: np.ndarray, mask: np.ndarray, softness: float = 0.0) -> np.ndarray:
    """Blend M·P(I) + (1 − M)·I: uint8 [H, W, 3] from two such images and a bool mask [H, W].

    `softness` is the standard deviation, in pixels, by which the mask's edge is smoothed for the blend.
    """
    if not softness:
        return np.where(mask[..., None], perturbed, image)
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), softness)
    return cv2.blendLinear(perturbed, image, alpha, 1 - alpha)


def _surroundings(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the smallest rectangle that holds a mask's marked pixels, beyond the reach of any perturbation's kernel.

    It starts at multiples of 16 pixels, so that Bayer phases and JPEG blocks mean in it what they mean in the image.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    first = max(0, y - 16) // 16 * 16, max(0, x - 16) // 16 * 16
    return slice(first[0], y + height + 16), slice(first[1], x + width + 16)


def forge(example: Example, rng: np.random.Generator, config: PidaConfig, donors: Donors | None = None) -> Example:
    """Make a forgery from an authentic example, the mask drawn as ground truth, of its size.

    `donors` gives other photographs to cut from and to borrow masks from; without it there is no splicing. The
    result's "recipe" says in JSON what was done. Its mask is the hard one also where the blend is soft.
    """
    weights = dict(vars(config.kinds))
    if donors is None:
        del weights["splicing"]
    kind = draw(rng, weights) if any(weights.values()) else "pida"
    softness = float(rng.uniform(0.5, 2.0)) if rng.random() < config.masks.soft_edge else 0.0
    made = None
    if kind in ("splicing", "copy_move"):
        made = _paste(example, kind, rng, config, donors, softness)
    if made is None:  # or what was to be pasted found no place
        made = _perturb(example, kind, rng, config, donors, softness)
    image, mask, recipe = made
    recipe["softness"] = softness
    return example | {"image": image, "mask": mask.view(np.uint8) * np.uint8(255), "recipe": json.dumps(recipe)}


Made = tuple[np.ndarray, np.ndarray, dict[str, Any]]  # the forged image, its mask bool [H, W], what was done


def _perturb(
    example: Example,
    kind: str,
    rng: np.random.Generator,
    config: PidaConfig,
    donors: Donors | None,
    softness: float,
) -> Made:
    """Return the image perturbed, painted over, or recompressed where a mask is."""
    image = example["image"]
    mask, shape = random_mask(example, rng, config.masks, donors)
    # Only what the mask shows is perturbed, which saves most of the time.
    around = _surroundings(mask)
    part = np.ascontiguousarray(image[around])
    if kind == "removal":
        changed, parameters = remove(part, np.ascontiguousarray(mask[around]), rng)
    elif kind == "recompressed":
        before = np.ascontiguousarray(example.get("before", image)[around])
        changed, parameters = degradation.recompress(before, rng, config.degradation)
        if np.array_equal(changed, part):  # neither has a past
            changed, parameters = degradation.random_jpeg(
                before, rng, config.degradation.min_quality, grid_aligned_prob=0.0
            )
    else:
        changed, kind, parameters = perturb_image(part, rng, config.perturbations)
    forged = image.copy()
    forged[around] = blend(part, changed, mask[around], softness)
    return forged, mask, {"kind": kind, **parameters, "mask": shape}


def _paste(
    example: Example,
    kind: str,
    rng: np.random.Generator,
    config: PidaConfig,
    donors: Donors | None,
    softness: float,
) -> Made | None:
    """Return a region of another photograph, or of the same, laid over this one; None if four tries found no place."""
    donor = example
    for _ in range(4 if kind == "splicing" else 0):
        if donors and donor["id"] == example["id"]:
            donor = donors.photograph(rng)
    if donor["id"] == example["id"]:  # there may be no other photograph
        kind, donor = "copy_move", example
    else:
        donor = degradation.degraded_crop(
            donor, min(*donor["mask"].shape, *example["mask"].shape), rng, config.degradation
        )
    region, shape = random_mask(donor, rng, config.masks)
    for _ in range(4):
        pasted = paste(example["image"], donor["image"], region, rng, config.masks, match_colors=kind == "splicing")
        if pasted:
            recipe = {"kind": kind, **pasted.parameters, "mask": shape}
            if kind == "splicing":
                recipe["donor"] = donor["id"]
            forged, mask = example["image"].copy(), np.zeros(example["mask"].shape, bool)
            mask[pasted.rectangle] = pasted.mask
            host = np.ascontiguousarray(example["image"][pasted.rectangle])
            forged[pasted.rectangle] = blend(host, pasted.image, pasted.mask, softness)
            return forged, mask, recipe
    return None


def after_factor(rng: np.random.Generator, config: PidaConfig) -> float:
    """Draw the factor by which the whole sample is scaled at the end; mostly 1."""
    return float(rng.uniform(0.6, 1.4)) if rng.random() < config.after_resize else 1.0


def post_process(
    example: Example, rng: np.random.Generator, config: PidaConfig, factor: float | None = None
) -> Example:
    """Treat the whole sample as uploads do now and then: scale it by `factor`, or a drawn one; compress it.

    Authentic samples go through it too: what every picture goes through must tell nothing of forgery.
    """
    image, mask = example["image"], example["mask"]
    recipe = json.loads(example["recipe"] or "{}")
    example = {key: value for key, value in example.items() if key not in ("segments", "before")}  # of another picture
    if factor is None:
        factor = after_factor(rng, config)
    if factor != 1:
        size = [max(SMALLEST, round(n * factor)) for n in image.shape[1::-1]]
        smaller = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
        if is_manipulated(smaller) == is_manipulated(mask):  # one of few pixels may fall between those that are kept
            mask, recipe["after_resize"] = smaller, factor
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    if rng.random() < config.after_jpeg:
        image, settings = degradation.random_jpeg(image, rng, LOWEST_AFTER, grid_aligned_prob=0.97)
        recipe |= {f"after_{name}": value for name, value in settings.items()}
    return example | {"image": image, "mask": mask, "recipe": json.dumps(recipe) if recipe else ""}


def pida(example: Example, rng: np.random.Generator, config: PidaConfig, donors: Donors | None = None) -> Example:
    """Return, with `config.probability`, a forgery of an authentic example (see `forge`), else the example itself.

    An example that is not forged, as one that is manipulated already (a mask with marked pixels), has the "recipe" "".
    """
    if is_manipulated(example["mask"]) or rng.random() >= config.probability:
        return example | {"recipe": ""}
    return forge(example, rng, config, donors)
