"""Classical forgeries beside PIDA: splicing, copy-move and removal. Pure functions of their arguments.

Ranges are pimjax's own choice. Ground truth is where pixels were put, not where they were taken from.
"""

from typing import NamedTuple

import cv2
import numpy as np

from pimjax.config import MaskConfig
from pimjax.data.masks import random_area

MARGIN = 12  # pixels around what is pasted: beyond the reach of a soft edge


class Pasted(NamedTuple):
    """What is to be laid over a rectangle of a photograph."""

    image: np.ndarray  # uint8 RGB [h, w, 3]; the donor also around the mask, for soft edges
    mask: np.ndarray  # bool [h, w]
    rectangle: tuple[slice, slice]  # rows and columns of the photograph
    parameters: dict[str, float]


def paste(
    host: np.ndarray,
    donor: np.ndarray,
    region: np.ndarray,
    rng: np.random.Generator,
    config: MaskConfig,
    match_colors: bool = False,
) -> Pasted | None:
    """Return a region (bool [h, w]) of `donor` (uint8 [h, w, 3]), scaled, turned and laid somewhere on `host` [H, W,
    3].

    Turned by −20°..20°, one time in two not at all; scaled by 0.5..2 to an area drawn from `config`, one time in four
    not at all; laid where it fits, or as far inside as it does. `match_colors` moves the channels' means 0..100 % of
    the way to those of the host around it.

    Returns:
        None where the region's area would leave the bounds of `config`, or the region would hardly move.
    """
    H, W, _ = host.shape
    x, y, width, height = cv2.boundingRect(region.view(np.uint8))
    scale = float(np.clip(np.sqrt(random_area(rng, config) * H * W / region.sum()), 0.5, 2))
    if rng.random() < 0.25:
        scale = 1.0
    angle = float(rng.uniform(-20, 20)) if rng.random() < 0.5 else 0.0
    reach = np.array([height, width]) * scale / 2
    center = [rng.uniform(min(r, n / 2), max(n - r, n / 2)) for r, n in zip(reach, (H, W), strict=True)]
    if scale == 1 and angle == 0:  # whole pixels: a paste without resampling
        center = [round(c - r) + r for c, r in zip(center, reach, strict=True)]
    affine = cv2.getRotationMatrix2D((x + width / 2 - 0.5, y + height / 2 - 0.5), angle, scale)
    affine[:, 2] += center[1] - (x + width / 2), center[0] - (y + height / 2)
    kernel = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
    rectangle = _rectangle(affine, (x, y, width, height), (H, W))
    size = rectangle[1].stop - rectangle[1].start, rectangle[0].stop - rectangle[0].start
    affine[:, 2] -= rectangle[1].start, rectangle[0].start
    part = cv2.warpAffine(region.astype(np.float32), affine, size, flags=cv2.INTER_LINEAR) > 0.5
    if not config.min_area <= part.sum() / (H * W) <= config.max_area:
        return None
    if host is donor and (part & region[rectangle]).sum() > 0.5 * part.sum():
        return None
    pasted = cv2.warpAffine(donor, affine, size, flags=kernel, borderMode=cv2.BORDER_REFLECT_101)
    parameters = {"scale": scale, "angle": angle, "kernel": kernel, "match": 0.0}
    if match_colors and rng.random() < 0.5:
        parameters["match"] = share = float(rng.uniform(0, 1))
        pasted = _match(pasted, host[rectangle], part, share)
    return Pasted(pasted, part, rectangle, parameters)


def _rectangle(affine: np.ndarray, box: tuple[int, ...], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the host that a box (x, y, width, height) of the donor falls on, and
    some around.
    """
    x, y, width, height = box
    corners = affine @ [[x, x + width, x, x + width], [y, y, y + height, y + height], [1, 1, 1, 1]]
    low, high = np.floor(corners.min(1)).astype(int) - MARGIN, np.ceil(corners.max(1)).astype(int) + MARGIN
    # One pixel at least, should all of it fall outside.
    starts = [min(max(first, 0), n - 1) for first, n in zip(low[::-1], shape, strict=True)]
    rows, columns = (slice(s, max(s + 1, min(last, n))) for s, last, n in zip(starts, high[::-1], shape, strict=True))
    return rows, columns


def _match(pasted: np.ndarray, host: np.ndarray, mask: np.ndarray, share: float) -> np.ndarray:
    shift = share * (host[~mask if not mask.all() else mask].mean(0) - pasted[mask].mean(0))
    table = np.clip(np.rint(np.arange(256)[:, None] + shift), 0, 255).astype(np.uint8)
    return cv2.LUT(pasted, table[:, None])


def remove(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
    """Return `image` (uint8 [H, W, 3]) with the pixels of `mask` (bool [H, W]) painted over from around them.

    Telea's or the Navier-Stokes inpainting over 3..5 pixels, at half the resolution or where the mask holds 2000 pixels
    (at full size it takes longer than all else in a sample), one time in two with noise of 1..4 gray levels, since a
    smooth patch in a photograph is no forger's work.
    """
    radius, method = int(rng.integers(3, 6)), int(rng.choice([cv2.INPAINT_TELEA, cv2.INPAINT_NS]))
    H, W, _ = image.shape
    scale = min(0.5, np.sqrt(2000 / max(1, mask.sum())))
    small = max(1, round(W * scale)), max(1, round(H * scale))
    small_mask = (cv2.resize(mask.astype(np.float32), small, interpolation=cv2.INTER_AREA) > 0).view(np.uint8)
    painted = cv2.inpaint(cv2.resize(image, small, interpolation=cv2.INTER_AREA), small_mask, radius, method)
    painted = cv2.resize(painted, (W, H), interpolation=cv2.INTER_CUBIC)
    deviation = float(rng.uniform(1, 4)) if rng.random() < 0.5 else 0.0
    if deviation:
        noisy = painted + deviation * rng.standard_normal(painted.shape, np.float32)
        painted = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return painted, {"radius": radius, "method": method, "deviation": deviation}
