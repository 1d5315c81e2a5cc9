"""Pixel-inconsistency data augmentation (paper, section III-E): a photograph blended with its own perturbation."""

import dataclasses
import json

import cv2
import numpy as np

from pimjax.config import PerturbationConfig, PidaConfig
from pimjax.data import perturb
from pimjax.data.masks import is_manipulated, random_mask
from pimjax.data.sources import Example


def perturb_image(
    image: np.ndarray, rng: np.random.Generator, config: PerturbationConfig
) -> tuple[np.ndarray, str, dict[str, float]]:
    """One member of the family, drawn by its weight: the perturbed uint8 image, its name and its parameters."""
    weights = dataclasses.asdict(config)
    shares = np.array(list(weights.values()), float)
    name = list(weights)[rng.choice(len(shares), p=shares / shares.sum())]
    perturbed, parameters = getattr(perturb, name)(image, rng)
    return perturbed, name, parameters


def blend(image: np.ndarray, perturbed: np.ndarray, mask: np.ndarray, softness: float = 0.0) -> np.ndarray:
    """M·P(I) + (1 − M)·I: uint8 [H, W, 3] from two such images and a bool mask [H, W].

    `softness` is the standard deviation, in pixels, by which the mask's edge is smoothed for the blend.
    """
    if not softness:
        return np.where(mask[..., None], perturbed, image)
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), softness)
    return cv2.blendLinear(perturbed, image, alpha, 1 - alpha)


def _surroundings(mask: np.ndarray) -> tuple[slice, slice]:
    """The smallest rectangle that holds a mask's marked pixels, beyond the reach of any perturbation's kernel.

    It starts at multiples of 16 pixels, so that Bayer phases and JPEG blocks mean in it what they mean in the image.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return tuple(
        slice(max(0, start - 16) // 16 * 16, start + length + 16) for start, length in ((y, height), (x, width))
    )


def forge(example: Example, rng: np.random.Generator, config: PidaConfig) -> Example:
    """A forgery from an authentic example: same size, the mask drawn as ground truth.

    The result's "recipe" says in JSON what was done. Its mask is the hard one also where the blend is soft.
    """
    image = example["image"]
    mask, shape = random_mask(image, rng, config.masks)
    # Only what the mask shows is perturbed, which saves most of the time.
    around = _surroundings(mask)
    part = np.ascontiguousarray(image[around])
    perturbed, kind, parameters = perturb_image(part, rng, config.perturbations)
    softness = float(rng.uniform(0.5, 2.0)) if rng.random() < config.masks.soft_edge else 0.0
    forged = image.copy()
    forged[around] = blend(part, perturbed, mask[around], softness)
    recipe = {"kind": kind, **parameters, "mask": shape, "softness": softness}
    if rng.random() < config.after_jpeg:
        recipe["after_jpeg"] = quality = int(rng.integers(70, 96))
        forged = perturb.compress(forged, quality)
    return example | {"image": forged, "mask": mask.view(np.uint8) * np.uint8(255), "recipe": json.dumps(recipe)}


def pida(example: Example, rng: np.random.Generator, config: PidaConfig) -> Example:
    """With `config.probability` a forgery of an authentic example, else the example itself ("recipe": "").

    Examples that are already manipulated (a mask with marked pixels) pass unchanged.
    """
    if is_manipulated(example["mask"]) or rng.random() >= config.probability:
        return example | {"recipe": ""}
    return forge(example, rng, config)
