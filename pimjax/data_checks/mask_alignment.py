"""Whether a mask belongs to its image: the outline of a pasted or removed region follows edges of the picture."""

import cv2
import numpy as np

SIDE = 192  # pixels of the longer side at which edges and outlines are compared


def mask_alignment(image: np.ndarray, mask: np.ndarray) -> float | None:
    """Return how much stronger the image's edges are under the mask's outline than under the same outline shifted.

    In standard deviations over 24 shifts of 6 or 12 pixels of a picture of 192. About 2.5 for a mask of its image and
    0.2 for one of another: of 220 CASIA images, 90 % of their own masks and 6 % of others' reach 1.13.

    Args:
        image: uint8 RGB [H, W, 3].
        mask: bool [H, W].

    Returns:
        None where the outline is too short to tell.
    """
    return outline_alignment(edge_ranks(image), outline(mask))


def edge_ranks(image: np.ndarray) -> np.ndarray:
    """Return the image's gradients at `SIDE` pixels as ranks 0..1: float [h, w]. (Values would let few
    edges decide.)
    """
    scale = SIDE / max(image.shape[:2])
    size = [max(2, round(n * scale)) for n in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    color = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    gradients = [cv2.Sobel(color, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))]
    strength = np.sum([(g * g).sum(-1) for g in gradients], 0)
    ranks = np.empty(strength.size, np.float32)
    ranks[np.argsort(strength, axis=None, kind="stable")] = np.linspace(0, 1, strength.size, dtype=np.float32)
    return ranks.reshape(strength.shape)


def outline(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pixels along the edge of a bool mask [H, W] at `SIDE` pixels."""
    scale = SIDE / max(mask.shape)
    size = [max(2, round(n * scale)) for n in mask.shape[::-1]]
    small = (cv2.resize(mask.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 127).view(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    rows, columns = np.nonzero(cv2.dilate(small, kernel) != cv2.erode(small, kernel))
    return rows, columns


def outline_alignment(ranks: np.ndarray, edge: tuple[np.ndarray, np.ndarray]) -> float | None:
    """Return the comparison itself; see `mask_alignment`."""
    if len(edge[0]) < 8:
        return None
    h, w = ranks.shape
    shifts = [(dy, dx) for dy in (-12, -6, 0, 6, 12) for dx in (-12, -6, 0, 6, 12) if dy or dx]
    shifted = [ranks[np.clip(edge[0] + dy, 0, h - 1), np.clip(edge[1] + dx, 0, w - 1)].mean() for dy, dx in shifts]
    own = ranks[np.clip(edge[0], 0, h - 1), np.clip(edge[1], 0, w - 1)].mean()
    return float((own - np.mean(shifted)) / (np.std(shifted) + 0.01))
