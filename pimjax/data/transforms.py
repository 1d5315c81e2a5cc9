"""Geometry: the released preprocessing, crops and targets. Numpy and OpenCV."""

import functools

import cv2
import numpy as np

from pimjax.normalization import normalize

STRIDE = 4  # the targets' and outputs' pixels, in pixels of the network input


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize linearly after Gaussian antialiasing, as the released preprocessing resizes images and masks.

    Per axis of downscale factor f: σ = max(0, (f − 1)/2), the kernel cut at 4σ; half-pixel centers; beyond the
    border the image is mirrored without repeating the border pixel.

    Args:
        image: [H, W] or [H, W, C], any real dtype.
        height: of the result, in pixels.
        width: of the result, in pixels.

    Returns:
        float32 [height, width] or [height, width, C], in the image's own range.
    """
    H, W = image.shape[:2]
    sigma = [max(0.0, (size / new - 1) / 2) for size, new in ((H, height), (W, width))]
    image = _gaussian(image, *sigma) if any(sigma) else image.astype(np.float32)
    if (height, width) == (H, W):
        return image
    out = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    # OpenCV repeats the border pixel where an enlarged pixel's center falls outside; there we interpolate ourselves.
    (rows, r0, r1, wr), (cols, c0, c1, wc) = _taps(H, height), _taps(W, width)
    for r, c in ((rows, np.arange(width)), (np.arange(height), cols)):
        a, b, u = r0[r, None], r1[r, None], wr[r].reshape(-1, *[1] * (image.ndim - 1))
        p, q, v = c0[None, c], c1[None, c], wc[c].reshape(1, -1, *[1] * (image.ndim - 2))
        top, bottom = (image[y, p] * (1 - v) + image[y, q] * v for y in (a, b))
        out[r[:, None], c] = top * (1 - u) + bottom * u
    return out


@functools.lru_cache(maxsize=1024)
def _taps(n: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return indices of the outputs whose center lies outside 0..n−1, and for all outputs both source pixels and
    weight.
    """
    x = (np.arange(new) + 0.5) * (n / new) - 0.5
    low = np.floor(x).astype(int)
    outside = np.flatnonzero((x < 0) | (x > n - 1))
    if n == 1:
        return outside, np.zeros_like(low), np.zeros_like(low), np.zeros(new, np.float32)

    def mirror(i: np.ndarray) -> np.ndarray:
        i = np.abs(i)
        return np.where(i > n - 1, 2 * (n - 1) - i, i)

    return outside, mirror(low), mirror(low + 1), (x - low).astype(np.float32)


def _gaussian(image: np.ndarray, sigma_y: float, sigma_x: float) -> np.ndarray:
    if image.dtype != np.uint8:  # which OpenCV turns into float32 on its way
        image = image.astype(np.float32)
    kernels = []
    for sigma in (sigma_y, sigma_x):
        radius = int(4 * sigma + 0.5)
        t = np.arange(-radius, radius + 1)
        weights = np.exp(-0.5 * (t / sigma) ** 2) if sigma else np.ones(1)
        kernels.append((weights / weights.sum()).astype(np.float32))
    return cv2.sepFilter2D(image, cv2.CV_32F, kernels[1], kernels[0], borderType=cv2.BORDER_REFLECT_101)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Round (halves to even) and clip to 0..255."""
    # OpenCV's only conversion that does both, and not of absolute values, in one pass.
    return cv2.addWeighted(image, 1, image, 0, 0, dtype=cv2.CV_8U)


def in_proportion(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return whether two pictures' sides (height, width, …) are alike in proportion, a pixel more or less on each of
    them.
    """
    (h, w), (H, W) = shape[:2], other[:2]
    return abs(h * W - w * H) <= 2 * max(h, w, H, W)


def crop_square(maps: dict[str, np.ndarray], size: int, center: tuple[float, float]) -> dict[str, np.ndarray]:
    """Cut a size×size square of native pixels out of maps of one size, as near to `center` (y, x) as fits.

    A photo smaller than the square is first continued by mirroring (its pixels stay as they are, unlike in scaling).
    """
    H, W = next(iter(maps.values())).shape[:2]
    if min(H, W) < size:
        pad = (0, max(0, size - H), 0, max(0, size - W))
        maps = {key: cv2.copyMakeBorder(x, *pad, cv2.BORDER_REFLECT) for key, x in maps.items()}
        H, W = max(H, size), max(W, size)
    y, x = (int(np.clip(round(c - size / 2), 0, n - size)) for c, n in zip(center, (H, W), strict=True))
    return {key: array[y : y + size, x : x + size] for key, array in maps.items()}


def network_input(image: np.ndarray, size: int) -> np.ndarray:
    """Prepare an image as released: uint8 RGB [H, W, 3] → normalized float32 [size, size, 3]."""
    return normalize(resize(image, size, size))


def target_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Prepare a mask as released: uint8 [H, W] (255 = manipulated) resized, then > 0.5: uint8 0/1 [height, width]."""
    return (resize(mask, height, width) > 127.5).view(np.uint8)
