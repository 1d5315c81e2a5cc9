"""Traces of JPEG's quantization, from pixels: blocks that miss the compression the rest of the picture went through.

The pixels' 8×8 luminance DCT, on the grid that starts at the corner, still shows the step of each frequency: what
`pimjax.jpeg.double_compression` finds in it, without a network.
"""

import cv2
import numpy as np

from pimjax.baselines.classical import from_blocks, luma
from pimjax.jpeg.dct import block_dct
from pimjax.jpeg.double_compression import FREQUENCIES, MIN_GAIN, DoubleCompression, estimate_double_compression

PRIOR = 2  # log odds that a block is authentic, before any evidence
POOLED = 20  # blocks' evidence that the mean around a block stands for


def jpeg_grid(image: np.ndarray) -> np.ndarray:
    """Return the probability that a block misses the JPEG compression of the others; 0 where no compression shows.

    Args:
        image: uint8 RGB [H, W, 3], H and W at least 4.

    Returns:
        float32 [H, W] in 0..1: 0.12 where nothing speaks for either.
    """
    shape = image.shape[:2]
    found = of_picture(image)
    if not found.single_llr.any() and not found.off_grid_llr.any():
        return np.zeros(shape, np.float32)
    # Blocks are judged by the contradiction that explains more of the picture.
    twice = found.primary_gain > max(MIN_GAIN, found.off_grid_gain)
    blocks = np.asarray(found.single_llr if twice else found.off_grid_llr).reshape(-1, max(1, shape[1] // 8))
    pooled = cv2.GaussianBlur(blocks, (0, 0), 2.0, borderType=cv2.BORDER_REFLECT)
    # That they keep to the step is nothing for authentic ones: all do, if the picture was compressed last.
    evidence = POOLED * pooled if twice else np.maximum(pooled, 0)
    return from_blocks(1 / (1 + np.exp(PRIOR - np.clip(evidence, -30, 30))), 8, shape)


def of_picture(image: np.ndarray) -> DoubleCompression:
    """Compare the whole 8×8 blocks, row by row, of a uint8 RGB image [H, W, 3] by `estimate_double_compression`."""
    brightness = luma(image) - 128
    rows, columns = (n // 8 for n in brightness.shape)
    extreme = ((image == 0) | (image == 255))[: rows * 8, : columns * 8].reshape(rows, 8, columns, 24)
    clipped = extreme.any((1, 3)).ravel()
    return estimate_double_compression(_coefficients(brightness), _coefficients(brightness[4:, 4:]), clipped)


def _coefficients(brightness: np.ndarray) -> np.ndarray:
    """Return the coefficients of all whole blocks of float32 [H, W] at `FREQUENCIES`: [35, blocks], row by row."""
    transformed = block_dct(brightness)
    return np.stack([transformed[u, v].ravel() for u, v in FREQUENCIES])
