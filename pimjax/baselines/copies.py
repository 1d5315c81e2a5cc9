"""Copied content: parts of a photo that occur in it twice, as copy-moves leave behind, without a network.

Keypoints that look alike and lie apart by one transform (Amerini et al., TIFS 2011) propose a copy; the pixels of both
places confirm it. A facade or a fence repeats itself, too, but there only some of the keypoints have a match: what
counts as a copy has matches throughout. Thresholds are pimjax's own, set on the choosing halves of CoMoFoD, OTMFD and
authentic photos (configs/benchmarks/robust.toml).
"""

from typing import NamedTuple

import cv2
import numpy as np

from pimjax.baselines.keypoint_matches import Keypoints, Transform, find_keypoints, find_transforms, match
from pimjax.jpeg.dct import LUMA

WINDOW = 4.0  # standard deviation of the window of a correlation, in pixels
ALIKE = 0.9  # correlation of a window with its copy
TEXTURE = 2.0  # gray levels of deviation, below which a window says nothing
BRIGHTNESS = 3.0  # gray levels that a window without texture may differ from its copy
LEAST_AREA = 0.0015  # of the photo: a connected part of a copy
GROWN = 2  # pixels that a window loses at a copy's edge
LEAST_SUPPORT = 0.25  # of the keypoints in a copy: that have their match where the transform puts them
LEAST_MATCHES = 5  # in a copy
DRAWN = 0.15  # of the steps between neighboring pixels: those over 64 gray levels; of our smooth photos at most 0.11
FOUND = 0.9  # probability of a pixel of a copy


class Copy(NamedTuple):
    """Hold content that occurs twice."""

    affine: np.ndarray  # float64 [2, 3], (x, y) in pixels: from one occurrence to the other
    mask: np.ndarray  # bool [H, W], of both
    matches: int  # keypoints
    support: float  # share of the first occurrence's keypoints that have their match in the other
    correlation: float  # mean over textured pixels, -1 … 1


def copies(image: np.ndarray) -> np.ndarray:
    """Map content that occurs twice: both occurrences, the original, too; they look alike.

    Args:
        image: uint8 RGB [H, W, 3].

    Returns:
        float32 [H, W]: 0.9 in copies, else 0.
    """
    found = find_copies(image)
    marked = np.any([copy.mask for copy in found], 0) if found else np.zeros(image.shape[:2], bool)
    return np.where(marked, np.float32(FOUND), np.float32(0))


def find_copies(image: np.ndarray) -> list[Copy]:
    """Find content of uint8 RGB [H, W, 3] that occurs twice; in drawings and screenshots, where much does, nothing.

    The same photo gives the same copies, whatever was searched before.
    """
    if is_drawing(image):
        return []
    gray = cv2.transform(image.astype(np.float32), LUMA[None].astype(np.float32))
    points = find_keypoints(np.round(gray).astype(np.uint8))
    pairs = match(points)
    transforms = find_transforms(points, pairs, np.random.default_rng(0))
    found = (_confirm(gray, points, transform) for transform in transforms)
    return [copy for copy in found if copy is not None]


def is_drawing(image: np.ndarray) -> bool:
    """Say whether uint8 RGB [H, W, 3] is drawn: most pixels like their neighbors, and of the others many far from them.

    Screenshots, diagrams and pages of text are; their letters are copies of each other.
    """
    pixels = image.astype(np.int16)
    here = pixels[:-1, :-1]
    step = np.maximum(np.abs(here - pixels[1:, :-1]), np.abs(here - pixels[:-1, 1:])).max(-1)
    changes, edges = np.count_nonzero(step > 2), np.count_nonzero(step > 64)
    return bool(changes < step.size / 2 and edges > DRAWN * changes)


def _confirm(gray: np.ndarray, points: Keypoints, transform: Transform) -> Copy | None:
    """Return the copy that a transform proposes, as far as pixels agree; None: too little does."""
    H, W = gray.shape
    correlation, textured, same = compare(gray, transform.affine)
    mask, matches = _connected(same, transform.source)
    if matches < LEAST_MATCHES:
        return None
    x, y = np.clip(np.round(points.xy).astype(int), 0, (W - 1, H - 1)).T
    support = matches / max(1, np.count_nonzero(mask[y, x]))
    if support < LEAST_SUPPORT:
        return None
    first = cv2.dilate(mask.astype(np.uint8), disk(GROWN))
    second = cv2.warpAffine(first, transform.affine, (W, H))
    return Copy(
        transform.affine, np.maximum(first, second) > 0, matches, support, float(correlation[mask & textured].mean())
    )


def compare(gray: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare a photo, float32 [H, W], around each pixel with itself around where a transform puts that.

    Returns:
        The correlation of windows, float32 [H, W]; whether both have texture, bool [H, W]; and whether they are the
        same, bool [H, W], a smooth window only between textured ones.
    """
    H, W = gray.shape
    moved = cv2.warpAffine(gray, affine, (W, H), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=-1e4)
    inside = moved > -1
    moved = np.where(inside, moved, 0)
    mean, moved_mean = _blur(gray), _blur(moved)
    deviation = np.maximum(_blur(gray * gray) - mean**2, 0)
    moved_deviation = np.maximum(_blur(moved * moved) - moved_mean**2, 0)
    covariance = _blur(gray * moved) - mean * moved_mean
    correlation = covariance / np.sqrt((deviation + 1e-3) * (moved_deviation + 1e-3))
    textured = (deviation > TEXTURE**2) & (moved_deviation > TEXTURE**2) & inside
    alike = textured & (correlation > ALIKE)
    smooth = ~textured & inside & (np.abs(mean - moved_mean) < BRIGHTNESS)
    closed = cv2.morphologyEx(alike.astype(np.uint8), cv2.MORPH_CLOSE, disk(int(2.5 * WINDOW))) > 0
    same = (closed & (alike | smooth)).astype(np.uint8)
    return correlation, textured, cv2.morphologyEx(same, cv2.MORPH_OPEN, disk(int(WINDOW))) > 0


def _connected(same: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, int]:
    """Keep the connected parts that are large enough and hold two keypoints or more, filled; and count those."""
    H, W = same.shape
    number, labels, stats, _ = cv2.connectedComponentsWithStats(same.astype(np.uint8))
    reach = cv2.dilate(labels.astype(np.float32), disk(int(WINDOW))).astype(int)
    x, y = np.clip(np.round(source).astype(int), 0, (W - 1, H - 1)).T
    votes = np.bincount(reach[y, x], minlength=number)
    keep = (votes >= 2) & (stats[:, cv2.CC_STAT_AREA] >= LEAST_AREA * H * W)
    keep[0] = False
    contours, _ = cv2.findContours(keep[labels].astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros((H, W), np.uint8), contours, -1, (1,), cv2.FILLED)
    return filled > 0, int(votes[keep].sum())


def _blur(x: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(x, (0, 0), WINDOW, borderType=cv2.BORDER_REFLECT)


def disk(radius: int) -> np.ndarray:
    """Return a disk of ones, uint8 [2·radius + 1, 2·radius + 1]."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
