"""Classical detectors without training: error level analysis, local noise level, and the floor of marking everything.

Each is a pure function of a uint8 RGB image [H, W, 3], H and W at least 4, to a probability of manipulation, float32
[H, W] in 0..1, to be used as a ranking and at threshold 0.5. Scales and thresholds are pimjax's own choice, set on
every fourth forgery of CASIA 1 and every second of IMD2020.
"""

import cv2
import numpy as np

from pimjax.data.perturb import compress
from pimjax.jpeg.dct import LUMA

_QUALITY = 90  # of the recompression, 1..100
_DIAGONAL = np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32) / 6  # leaves white noise its standard deviation


def everything(image: np.ndarray) -> np.ndarray:
    """Return 1 everywhere: what a detector has to beat."""
    return np.ones(image.shape[:2], np.float32)


def error_level(image: np.ndarray) -> np.ndarray:
    """Map what another JPEG compression would change: error level analysis (Krawetz, "A picture's worth", 2007).

    The largest absolute difference among the channels to the image recompressed at quality 90, as a mean over a
    Gaussian of 2 % of the longer side, between its 1st and 99.5th percentile; these count as at least two gray levels
    apart, that a picture without differences stays dark.
    """
    change = cv2.absdiff(image, compress(image, _QUALITY)).max(-1).astype(np.float32)
    change = cv2.GaussianBlur(change, (0, 0), 0.02 * max(change.shape), borderType=cv2.BORDER_REFLECT)
    low, high = np.percentile(change, (1, 99.5))
    return np.clip((change - low) / max(high - low, 2.0), 0, 1).astype(np.float32)


def noise_level(image: np.ndarray) -> np.ndarray:
    """Map the deviation from the picture's own noise level (Mahdian and Saic, "Using noise inconsistencies", IVC 2009).

    The noise level of a block of 16×16 luma pixels, one every 8 pixels, is the median absolute value of its diagonal
    second differences (the paper: of a wavelet's diagonal band). Its logarithm is compared with the median of all
    blocks; 1.5 robust standard deviations, to more noise or to less, are probability 0.5.
    """
    side, step = 16, 8
    H, W, _ = image.shape
    rows, columns = -(-H // step), -(-W // step)
    detail = np.abs(cv2.filter2D(luma(image), -1, _DIAGONAL, borderType=cv2.BORDER_REFLECT_101))
    around = (side - step) // 2
    bottom, right = rows * step - H + around, columns * step - W + around
    # Repeated copies, where an image is narrower than the border that it gets.
    detail = np.pad(detail, ((around, bottom), (around, right)), mode="symmetric")
    blocks = np.lib.stride_tricks.sliding_window_view(detail, (side, side))[::step, ::step]
    level = np.log(np.median(blocks.reshape(rows, columns, -1), axis=-1) / 0.6745 + 0.3)  # of rounding to gray levels
    level = cv2.GaussianBlur(level.astype(np.float32), (0, 0), 1.0, borderType=cv2.BORDER_REFLECT)
    deviation = np.abs(level - np.median(level))
    spread = 1.4826 * np.median(deviation) + 0.05
    return from_blocks(1 / (1 + np.exp(3 - 2 * deviation / spread)), step, (H, W))


def luma(image: np.ndarray) -> np.ndarray:
    """Return JPEG's luminance of uint8 RGB [H, W, 3], not rounded: float32 [H, W], gray levels."""
    return cv2.transform(image.astype(np.float32), LUMA[None].astype(np.float32))


def from_blocks(values: np.ndarray, side: int, shape: tuple[int, int]) -> np.ndarray:
    """Spread one value per block of side×side pixels, [h, w], to `shape` [H, W], linear between their centers: float32.

    Blocks that end outside are cut, the pixels behind the last block repeat it.
    """
    (h, w), (H, W) = values.shape, shape
    out = cv2.resize(values.astype(np.float32), (w * side, h * side), interpolation=cv2.INTER_LINEAR)[:H, :W]
    missing = (0, H - out.shape[0], 0, W - out.shape[1])
    return cv2.copyMakeBorder(out, *missing, cv2.BORDER_REPLICATE)
