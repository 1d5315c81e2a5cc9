"""Where a forgery is: random region masks, and the boundary band of a mask. Pure functions of their arguments.

A mask is bool [H, W], True = manipulated.
"""

import cv2
import numpy as np

from pimjax.config import MaskConfig
from pimjax.data.donors import Donors
from pimjax.data.sources import Example


def smooth_shape(rng: np.random.Generator, height: int, width: int, area: float) -> np.ndarray:
    """Return a random smooth blob or two: low-frequency noise around a random center, cut so that `area` is covered.

    `area` is a share of the image in 0..1; the result covers it to within a pixel's rounding. bool [height, width].
    """
    coarse = rng.standard_normal((rng.integers(4, 9), rng.integers(4, 9))).astype(np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    # A bump the size of the wanted region keeps the shape in one place instead of spread over the image.
    cy, cx = rng.uniform(0.15, 0.85, 2) * (height, width)
    spread = np.sqrt(area * height * width) * rng.uniform(0.6, 1.2, 2)
    y, x = np.ogrid[:height, :width]
    field -= (2 * ((y - cy) / spread[0]) ** 2).astype(np.float32)
    field -= (2 * ((x - cx) / spread[1]) ** 2).astype(np.float32)
    count = min(max(round(area * field.size), 1), field.size)
    return field >= np.partition(field, field.size - count, axis=None)[field.size - count]


def superpixels(image: np.ndarray, rng: np.random.Generator, cell: int) -> np.ndarray:
    """Split a uint8 RGB image [H, W, 3] into regions that follow its edges: int32 labels from 0, [H, W].

    Seeded watershed on a jittered grid of `cell` pixels ("waterpixels", Machairas et al., IEEE TIP 2015), which
    takes milliseconds where SLIC takes a second.
    """
    H, W, _ = image.shape
    seeds = np.zeros((H, W), np.int32)
    ys, xs = np.mgrid[cell // 2 : H : cell, cell // 2 : W : cell].reshape(2, -1)
    jitter = rng.integers(-(cell // 4), cell // 4 + 1, (2, len(ys)))
    seeds[np.clip(ys + jitter[0], 0, H - 1), np.clip(xs + jitter[1], 0, W - 1)] = np.arange(1, len(ys) + 1)
    labels = cv2.watershed(cv2.GaussianBlur(image, (0, 0), 1.5), seeds)
    # The watershed leaves one-pixel ridges of −1 between regions; they join the neighbor below, right or above.
    ridge = labels < 1
    return np.where(ridge, cv2.dilate(labels.astype(np.float32), np.ones((3, 3))), labels).astype(np.int32).clip(1) - 1


def superpixel_union(image: np.ndarray, rng: np.random.Generator, area: float) -> np.ndarray:
    """Return a connected union of superpixels of `image` (uint8 [H, W, 3]) that covers about `area` (a share in 0..1).

    Grows from a random superpixel by its neighbors, passing over those that would take it beyond the area; one
    superpixel at least. bool [H, W].
    """
    H, W, _ = image.shape
    pixels = area * H * W
    # Superpixels are needed only as far as the union can reach: large enough a window is grown in, not the whole image.
    side = int(max(96, 3 * np.sqrt(pixels)))
    y, x = (int(rng.integers(max(n - side, 0) + 1)) for n in (H, W))
    union = np.zeros((H, W), bool)
    window = union[y : y + side, x : x + side]
    window[:] = _union(image[y : y + side, x : x + side], rng, pixels / window.size)
    return union


def _union(image: np.ndarray, rng: np.random.Generator, area: float) -> np.ndarray:
    size = image.shape[1::-1]
    scale = 1.0
    if np.sqrt(area * size[0] * size[1]) / 3 >= 12 and min(size) >= 64:
        # Large superpixels are found as well, and sooner, in a smaller image; one of no fixed scale, whose pixels would
        # leave all edges on a grid.
        scale = rng.uniform(0.4, 0.6)
        image = cv2.resize(image, [round(n * scale) for n in size], interpolation=cv2.INTER_AREA)
    chosen = _grow(image, rng, area, largest=48 * scale).astype(np.float32)
    enlarged = cv2.resize(chosen, size, interpolation=cv2.INTER_LINEAR)
    return enlarged > 0.5 * enlarged.max()  # the largest is 1 but for a region of single pixels, which must not vanish


def _grow(image: np.ndarray, rng: np.random.Generator, area: float, largest: float) -> np.ndarray:
    H, W, _ = image.shape
    cell = int(np.clip(np.sqrt(area * H * W) / 3, 4, largest))
    cell = min(cell, H, W)  # at least one seed
    labels = superpixels(image, rng, cell)
    sizes = np.bincount(labels.ravel())
    # Which superpixels touch, each pair once, coded as one number: sorting rows of pairs is ten times slower.
    sides = ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]))
    codes = np.concatenate([(np.minimum(a, b) * len(sizes) + np.maximum(a, b))[a != b] for a, b in sides])
    pairs = np.stack(np.divmod(np.unique(codes), len(sizes)), axis=1)
    chosen = np.zeros(len(sizes), bool)
    # From the middle half, so that growth seldom meets the image's or window's edge.
    chosen[labels[rng.integers(H // 4, H - H // 4), rng.integers(W // 4, W - W // 4)]] = True
    while True:
        fits = sizes <= area * H * W - sizes[chosen].sum()
        touching = pairs[(chosen[pairs].sum(1) == 1) & (chosen | fits)[pairs].all(1)]
        if not len(touching):
            break
        chosen[touching[rng.integers(len(touching))]] = True
    return chosen[labels]


def segment(labels: np.ndarray, rng: np.random.Generator, config: MaskConfig) -> np.ndarray | None:
    """Return a connected region of one label of a label map, int [H, W], its area within bounds; None if there is none.

    Label 0 of a map of two is the background of a mask, and no candidate.
    """
    candidates = np.unique(labels)
    if candidates.tolist() == [0, 1]:
        candidates = candidates[1:]
    for label in rng.permutation(candidates)[:8]:
        count, regions, stats, _ = cv2.connectedComponentsWithStats((labels == label).view(np.uint8))
        share = stats[1:, cv2.CC_STAT_AREA] / labels.size
        if len(fitting := np.flatnonzero((share >= config.min_area) & (share <= config.max_area))):
            return regions == 1 + rng.choice(fitting)
    return None


def random_area(rng: np.random.Generator, config: MaskConfig) -> float:
    """Return a share of the image, log-uniform between the bounds: small forgeries are as frequent as large ones."""
    return float(np.exp(rng.uniform(np.log(config.min_area), np.log(config.max_area))))


def random_mask(
    example: Example, rng: np.random.Generator, config: MaskConfig, donors: Donors | None = None
) -> tuple[np.ndarray, str]:
    """Return a mask for an example's image, its kind and its area drawn from `config`: bool [H, W] and the kind.

    A segment or mask of one of the `donors` may be borrowed, stretched to this image. A kind for which the photographs
    lack what it needs is replaced by one that needs nothing.
    """
    image, area = example["image"], random_area(rng, config)
    weights = {kind: getattr(config, kind) for kind in ("smooth", "superpixels", "segments", "borrowed")}
    if "segments" not in example:
        del weights["segments"]
    if donors is None or not donors.lend:
        del weights["borrowed"]
    kind, labels = draw(rng, weights), None
    if kind == "segments":
        labels = example["segments"]
    elif kind == "borrowed" and donors and (labels := donors.labels(rng)) is not None:
        labels = cv2.resize(labels.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    if labels is not None and (mask := segment(labels, rng, config)) is not None:
        return mask, kind
    if kind in ("segments", "borrowed"):
        kind = draw(rng, {"smooth": config.smooth, "superpixels": config.superpixels})
    if kind == "superpixels":
        mask = superpixel_union(image, rng, area)
        if mask.mean() <= 1.05 * config.max_area:  # the only superpixel of a tiny image is all of it
            return mask, kind
    H, W = image.shape[:2]
    return smooth_shape(rng, H, W, area), "smooth"


def draw(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """Return a name, drawn by its weight."""
    shares = np.array(list(weights.values()), float)
    return list(weights)[rng.choice(len(shares), p=shares / shares.sum())]


def is_manipulated(mask: np.ndarray) -> bool:
    """Return whether a uint8 mask marks any pixel: above 127, half way between 0 and 255."""
    return bool((mask > 127).any())


def boundary_band(mask: np.ndarray, width: int) -> np.ndarray:
    """Return the pixels within width/2 of the mask's edge, on both sides: bool [H, W] → bool [H, W].

    The image's own border is no edge: a mask that reaches it has no boundary there.
    """
    radius = max(1, round(width / 2))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    mask = mask.astype(np.uint8)
    return cv2.dilate(mask, disc) > cv2.erode(mask, disc)
