"""What becomes of a finished file on its way to whoever looks at it: saved again, scaled, cut, sent through a service.

Authentic and manipulated pictures go the same way. Ranges are pimjax's own, chosen to hold what the development set's
treatments do: JPEG at any quality, WebP, scaling, a few pixels cut off at top and left, a screenshot without loss.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from pimjax.config import UploadConfig
from pimjax.data.degradation import random_jpeg

KERNELS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
BLOCK = 8  # pixels of JPEG's grid, within which a cut moves it


class Upload(NamedTuple):
    """One station of a file's way: it is cut, then scaled, then saved."""

    cut: tuple[int, int]  # rows and columns that are cut off at top and left
    scale: float
    codec: str  # "jpeg", "webp", or "lossless" as a screenshot is


def draw_uploads(rng: np.random.Generator, config: UploadConfig) -> tuple[Upload, ...]:
    """Draw the stations of a file's way; () with probability 1 − `config.probability`."""
    if not config.probability or rng.random() >= config.probability:
        return ()
    return tuple(_draw(rng, config) for _ in range(int(rng.integers(1, config.most + 1))))


def _draw(rng: np.random.Generator, config: UploadConfig) -> Upload:
    cut, scale = (0, 0), 1.0
    if rng.random() < config.cut_prob:
        cut = int(rng.integers(BLOCK)), int(rng.integers(BLOCK))
    if rng.random() < config.scale_prob:
        scale = float(rng.uniform(config.min_scale, 1.0))
    codec = rng.choice(("jpeg", "webp", "lossless"), p=(0.75, 0.15, 0.1))
    return Upload(cut, scale, str(codec))


def side_before(side: int, uploads: Sequence[Upload]) -> int:
    """Return the side of the square that is at least `side` pixels when it has gone the whole way."""
    for upload in reversed(uploads):
        side = math.ceil(side / upload.scale) + max(upload.cut)
    return side


def send(
    image: np.ndarray, mask: np.ndarray, uploads: Sequence[Upload], rng: np.random.Generator, config: UploadConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Send a picture and its mask, uint8 [H, W, 3] and [H, W], all the way; both come out of the same new size."""
    for upload in uploads:
        top, left = upload.cut
        image, mask = image[top:, left:], mask[top:, left:]
        if upload.scale != 1:
            size = [max(1, round(n * upload.scale)) for n in mask.shape[::-1]]
            image = cv2.resize(image, size, interpolation=int(rng.choice(KERNELS)))
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
        if upload.codec == "jpeg":  # of the new file, hence the grid begins at its corner
            image, _ = random_jpeg(np.ascontiguousarray(image), rng, config.min_quality, grid_aligned_prob=1.0)
        elif upload.codec == "webp":
            image = _webp(image, int(rng.integers(config.min_quality, 99)))
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


def _webp(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress as lossy WebP."""
    _, encoded = cv2.imencode(".webp", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1]
