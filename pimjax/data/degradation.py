"""What became of a photograph before it was forged, and of the picture before it is seen: scaled, compressed.

A forgery is seldom the first thing that happens to a photograph: it was made smaller and compressed, what was pasted
into it has another past, and the result is compressed again. Authentic pictures go through the same. Ranges are
pimjax's own.
"""

import cv2
import numpy as np

from pimjax.config import DegradationConfig
from pimjax.data.perturb import CHROMA, compress, resample
from pimjax.data.sources import Example
from pimjax.data.transforms import crop_square

_KERNELS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def degraded_crop(example: Example, side: int, rng: np.random.Generator, config: DegradationConfig) -> Example:
    """Return a random square of the photograph, side×side pixels, with a past drawn from `config`; authentic examples
    only.

    It is cut, scaled down, and compressed; "before" is the image as it was before that. A photograph smaller than the
    square is continued by mirroring.
    """
    H, W = example["mask"].shape
    factor = 1.0
    if config.min_scale < 1 and rng.random() < 0.8:
        smallest = min(1.0, max(config.min_scale, side / min(H, W)))
        factor = float(np.exp(rng.uniform(np.log(smallest), 0)))
    before = max(side, round(side / factor))
    top, left = (int(rng.integers(max(n - before, 0) + 1)) for n in (H, W))
    if before == side and rng.random() < config.grid_aligned_prob:  # the blocks of the compression that it comes with
        top, left = top // 8 * 8, left // 8 * 8
    center = top + before / 2, left + before / 2
    maps = crop_square({key: example[key] for key in ("image", "mask", "segments") if key in example}, before, center)
    if before > side:
        kernel = int(rng.choice(_KERNELS, p=(0.4, 0.2, 0.2, 0.2)))
        for key, array in maps.items():
            # Labels are beyond what OpenCV scales as integers.
            array = array if key == "image" else array.astype(np.float32)
            scaled = cv2.resize(array, (side, side), interpolation=kernel if key == "image" else cv2.INTER_NEAREST)
            maps[key] = scaled.astype(maps[key].dtype)
    maps["before"] = maps["image"]
    if rng.random() < config.jpeg_prob:
        maps["image"], _ = random_jpeg(maps["image"], rng, config.min_quality, config.grid_aligned_prob)
    return example | {key: np.ascontiguousarray(array) for key, array in maps.items()}


def recompress(
    before: np.ndarray, rng: np.random.Generator, config: DegradationConfig
) -> tuple[np.ndarray, dict[str, float]]:
    """Return the crop as if the photograph had come another way: `before` scaled and back, compressed.

    One time in four each is left out. The grid of the compression lies anywhere: in a picture that this was pasted
    into, it seldom falls on that of the rest. Returns the uint8 RGB image and what was drawn.
    """
    settings: dict[str, float] = {}
    if rng.random() < 0.25:
        before, settings = resample(before, rng)
    if rng.random() < 0.75:
        before, compression = random_jpeg(before, rng, config.min_quality, grid_aligned_prob=0.0)
        settings |= compression
    return before, settings


def random_jpeg(
    image: np.ndarray, rng: np.random.Generator, min_quality: int, grid_aligned_prob: float
) -> tuple[np.ndarray, dict[str, float]]:
    """Compress as any program may: quality `min_quality`..98, any chroma sampling, standard or flatter tables.

    With probability `grid_aligned_prob` the 8×8 grid starts at the image's corner, else anywhere. Returns the uint8 RGB
    image and what was drawn.
    """
    settings = {
        "quality": int(rng.integers(min_quality, 99)),
        "flatness": float(rng.uniform(0.5, 1.0)) if rng.random() < 0.4 else 1.0,
        "chroma": int(rng.choice(CHROMA, p=(0.35, 0.1, 0.55))),
    }
    settings["dy"], settings["dx"] = (0, 0) if rng.random() < grid_aligned_prob else rng.integers(0, 8, 2).tolist()
    return compress(image, **settings), settings
