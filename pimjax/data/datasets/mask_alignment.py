"""Bringing a mask to its image's grid."""

import cv2
import numpy as np

from pimjax.data.transforms import in_proportion


def orient_mask(mask: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, str, str]:
    """Return a bool mask [h, w] on the grid of a uint8 RGB image [H, W, 3], and what had to be done.

    A mask whose sides are the image's, swapped, is taken for rotated by 90°, in the direction that puts its outline
    on the stronger gradients of the image. Any other size is scaled (nearest neighbor).

    Returns:
        The mask, bool [H, W]; "", "rotated" or "scaled"; and the particulars, in words.
    """
    (h, w), (H, W) = mask.shape, image.shape[:2]
    if (h, w) == (H, W):
        return mask, "", ""
    if (h, w) == (W, H):
        return _rotate(mask, image)
    other = "" if in_proportion(mask.shape, image.shape) else ", of other proportions"
    scaled = cv2.resize(mask.astype(np.uint8), (W, H), interpolation=cv2.INTER_NEAREST_EXACT)
    return scaled > 0, "scaled", f"from {w}×{h} to {W}×{H}{other}"


def _rotate(mask: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, str, str]:
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    gradients = cv2.magnitude(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    clockwise, counter = np.rot90(mask, -1), np.rot90(mask)
    strengths = [_outline_strength(turned, gradients) for turned in (clockwise, counter)]
    words = (
        f"by its outline on the image's gradients ({strengths[0]:.1f} clockwise, {strengths[1]:.1f} counter-clockwise)"
    )
    if strengths[0] >= strengths[1]:
        return clockwise, "rotated", f"90° clockwise, {words}"
    return counter, "rotated", f"90° counter-clockwise, {words}"


def _outline_strength(mask: np.ndarray, gradients: np.ndarray) -> float:
    """Return mean gradient under the mask's outline; 0 if it has none."""
    outline = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return float(gradients[outline].mean()) if outline.any() else 0.0
