"""Keypoints of a photo that look like others of the same photo, and the transforms that put many of them there."""

from typing import NamedTuple

import cv2
import numpy as np

KEYPOINTS = 10_000  # the strongest; with 6,000, 4 more of 25 forgeries of CoMoFoD showed nothing
PIXELS = 1.5e6  # that keypoints are sought among; a small photo is enlarged up to twice
MOST_ALIKE = 8  # neighbors of a keypoint that may be its copies
RATIO = 0.6  # of a neighbor's distance to that of the next one, which must jump behind the copies
APART = 16  # pixels between a keypoint and its copy: nearer ones are the same structure
REACH = 3.0  # pixels between where a transform puts a keypoint and where its copy is
LEAST = 4  # matches of a transform
ROUNDS = 12  # transforms of a photo
TRIED = 400  # matches that a transform is sought among


class Keypoints(NamedTuple):
    """Hold SIFT's keypoints of a photo."""

    xy: np.ndarray  # float32 [n, 2], pixels of the photo
    size: np.ndarray  # float32 [n]
    angle: np.ndarray  # float32 [n], radians
    descriptors: np.ndarray  # float32 [n, 128], of length 1


class Transform(NamedTuple):
    """Hold an affine transform and the keypoints that it puts on others which look like them."""

    affine: np.ndarray  # float64 [2, 3]
    source: np.ndarray  # float32 [m, 2]


def find_keypoints(gray: np.ndarray) -> Keypoints:
    """Find keypoints of uint8 [H, W] by SIFT (Lowe, IJCV 2004), with descriptors as RootSIFT's (Arandjelović, 2012)."""
    H, W = gray.shape
    scale = min(2.0, (PIXELS / (H * W)) ** 0.5)
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    size = max(1, round(W * scale)), max(1, round(H * scale))
    sift = cv2.SIFT.create(nfeatures=KEYPOINTS, contrastThreshold=0.01, edgeThreshold=20)
    found, descriptors = sift.detectAndCompute(cv2.resize(gray, size, interpolation=method), None)
    if descriptors is None:
        found, descriptors = (), np.zeros((0, 128), np.float32)
    found, descriptors = found[:KEYPOINTS], descriptors[:KEYPOINTS]
    points = np.array([(*point.pt, point.size, point.angle) for point in found], np.float32).reshape(-1, 4)
    factor = np.array([W / size[0], H / size[1]], np.float32)
    xy = (points[:, :2] + 0.5) * factor - 0.5
    unit = np.sqrt(descriptors / (descriptors.sum(1, keepdims=True) + 1e-7))
    return Keypoints(xy, points[:, 2] * factor.mean(), np.deg2rad(points[:, 3]), unit)


def match(points: Keypoints) -> np.ndarray:
    """Pair keypoints that look alike: int [m, 2], indices, the smaller one first.

    By the generalized ratio of neighbors (g2NN; Amerini et al., TIFS 2011): a keypoint's nearest neighbors are its
    copies as far as each is much nearer than the next. Texture, where all are alike, has none.
    """
    n = len(points.xy)
    most = min(4 * (MOST_ALIKE + 1), n - 1)
    if most < 2:
        return np.zeros((0, 2), int)
    pairs = []
    for start in range(0, n, 1000):
        alike = points.descriptors[start : start + 1000] @ points.descriptors.T
        near = np.argpartition(-alike, most - 1, 1)[:, :most]
        offset = points.xy[near] - points.xy[start : start + 1000, None]
        value = np.where(np.hypot(*np.moveaxis(offset, -1, 0)) > APART, np.take_along_axis(alike, near, 1), -1)
        order = np.argsort(-value, 1)[:, : MOST_ALIKE + 1]
        near, value = np.take_along_axis(near, order, 1), np.take_along_axis(value, order, 1)
        distance = np.sqrt(np.maximum(2 - 2 * value, 0))
        copies = np.cumprod(distance[:, :-1] <= RATIO * distance[:, 1:], 1).astype(bool)
        rows, columns = np.nonzero(copies)
        pairs.append(np.stack([rows + start, near[rows, columns]], 1))
    return np.unique(np.sort(np.concatenate(pairs), 1), axis=0)


def find_transforms(points: Keypoints, pairs: np.ndarray, rng: np.random.Generator) -> list[Transform]:
    """Find affine transforms that explain many pairs each: the one with the most first, then among what is left.

    A pair's scales and angles give a similarity by themselves; the best of them is then fitted to all that agree.
    """
    found = []
    left = pairs
    for _ in range(ROUNDS):
        if len(left) < LEAST:
            break
        affine = _most_agreed(points, left, rng)
        for reach in (2 * REACH, REACH, REACH):
            source, target = directed(affine, points, left, reach)
            fitted = _fit(source, target) if len(source) >= LEAST else None
            if fitted is None:
                break
            affine = fitted
        agrees = direction(affine, points, left, REACH) != 0
        if not agrees.any():
            break
        source, _ = directed(affine, points, left, REACH)
        left = left[~agrees]
        if _is_plausible(affine, source):
            found.append(Transform(affine, source))
    return found


def _most_agreed(points: Keypoints, pairs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    a, b = pairs.T
    scale, turn = points.size[b] / points.size[a], points.angle[b] - points.angle[a]
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], 1)
    shift = points.xy[b] - np.einsum("nij,nj->ni", linear, points.xy[a])
    candidates = np.concatenate([linear, shift[:, :, None]], 2)[rng.permutation(len(pairs))[:TRIED]]
    agreeing = [np.count_nonzero(direction(affine, points, pairs, 2 * REACH)) for affine in candidates]
    return candidates[int(np.argmax(agreeing))]


def direction(affine: np.ndarray, points: Keypoints, pairs: np.ndarray, reach: float) -> np.ndarray:
    """Say of each pair whether the transform puts its first keypoint on its second, 1, or the other way, -1; else 0."""
    a, b = points.xy[pairs[:, 0]], points.xy[pairs[:, 1]]
    forward = np.hypot(*(apply(affine, a) - b).T) < reach
    backward = np.hypot(*(apply(affine, b) - a).T) < reach
    return np.where(forward, 1, np.where(backward, -1, 0))


def directed(affine: np.ndarray, points: Keypoints, pairs: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs that agree with a transform, in its direction: [m, 2] and where it puts them, [m, 2]."""
    sides = direction(affine, points, pairs, reach)
    turned = np.where(sides[:, None] > 0, pairs, pairs[:, ::-1])[sides != 0]
    return points.xy[turned[:, 0]], points.xy[turned[:, 1]]


def apply(affine: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Transform points [n, 2] by an affine [2, 3]."""
    return xy @ affine[:, :2].T + affine[:, 2]


def _fit(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Fit an affine transform to matches by RANSAC, or a similarity where they are few; None: they lie on a line."""
    several = len(np.unique(np.round(source), axis=0)) >= 8
    estimate = cv2.estimateAffine2D if several else cv2.estimateAffinePartial2D
    return estimate(source, target, method=cv2.RANSAC, ransacReprojThreshold=REACH)[0]


def _is_plausible(affine: np.ndarray, source: np.ndarray) -> bool:
    """Say whether a transform moves, keeps sizes within a third and three, and its matches are no point and no line."""
    scale = abs(np.linalg.det(affine[:, :2])) ** 0.5
    places = np.unique(np.round(source / 2), axis=0)
    spread = np.linalg.matrix_rank(source - source.mean(0), 1.5) > 1
    moves = np.abs(apply(affine, source) - source).max() >= APART
    return bool(0.3 < scale < 3.3 and len(places) >= LEAST and spread and moves)
