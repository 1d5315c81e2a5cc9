"""Traces of JPEG's quantisation, from pixels: blocks that miss the compression the rest of the picture went through.

The pixels' 8×8 luminance DCT, on the grid that starts at the corner, still shows the step of each frequency. Two
contradictions are looked for:

- Double compression (Lin et al., Pattern Recognition 2009; the model of the histograms as in Bianchi, De Rosa and Piva,
  ICASSP 2011). A picture compressed before the forgery has periodic histograms of quantised coefficients. What was put
  in has not: it was not compressed before, or on another grid.
- Coefficients that are no multiples of the step (Ye, Sun and Chang, ICME 2007). After the forgery nothing, or little,
  was compressed: the step is the first compression's, and what was put in does not keep to it.

Thresholds are pimjax's own choice, set on every fourth forgery of CASIA 1 and every second of IMD2020.
"""

import cv2
import numpy as np

from pimjax.baselines.classical import from_blocks, luma
from pimjax.models.jpeg_traces import FEWEST, FINE, FIRST, FORGED, GAIN, REACH, STEPS, combs, misfit, periodic

_FREQUENCIES = [(u, v) for u in range(5) for v in range(5) if 0 < u + v < 5]  # higher ones are mostly zero
_DCT = np.cos((2 * np.arange(8) + 1) * np.arange(5)[:, None] * np.pi / 16) * np.sqrt([[1 / 8]] + [[1 / 4]] * 4)
_ENOUGH = 0.04  # gained by all together; pictures compressed once rarely reach it


def jpeg_grid(image: np.ndarray) -> np.ndarray:
    """Probability that a block lacks the JPEG compression of the others; 0 where no compression shows at all.

    Args:
        image: uint8 RGB [H, W, 3], H and W at least 4.

    Returns:
        float32 [H, W] in 0..1, from both contradictions' evidence: about 0.5 where a former compression shows but the
        block is too smooth to tell, 0.12 where none shows and the block keeps to the step.
    """
    shape = image.shape[:2]
    brightness = luma(image) - 128
    coefficients, shifted = _coefficients(brightness), _coefficients(brightness[4:, 4:])
    single = np.zeros(coefficients.shape[1:], np.float32)
    off, total = np.zeros_like(single), 0.0
    for c, other in zip(coefficients, shifted, strict=True):
        step = _step(c)
        if step > 1:
            gain, evidence = _once_compressed(c, other, step)
            total += gain
            single += evidence
        if step > 2:  # below, rounded pixels leave nothing of it
            off += misfit(c, step, deviation=0.6, share=0.05)
    if total < _ENOUGH:
        single[:] = 0
    if not single.any() and not off.any():
        return np.zeros(shape, np.float32)
    # Blocks that keep to the step are no evidence against the other contradiction. Without a former compression,
    # nothing else speaks for authentic blocks: they get the prior.
    evidence = 2 * _smooth(single) + np.maximum(_smooth(np.maximum(off, -4)), 0) - (0 if single.any() else 2)
    return from_blocks(1 / (1 + np.exp(-np.clip(evidence, -30, 30))), 8, shape)


def _smooth(evidence: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(evidence, (0, 0), 2.0, borderType=cv2.BORDER_REFLECT)


def _coefficients(brightness: np.ndarray) -> np.ndarray:
    """DCT of all whole 8×8 blocks: [frequencies, rows, columns]."""
    rows, columns = (n // 8 for n in brightness.shape)
    blocks = brightness[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8)
    transformed = np.einsum("ui,aibj,vj->uvab", _DCT.astype(np.float32), blocks, _DCT.astype(np.float32), optimize=True)
    return np.stack([transformed[u, v] for u, v in _FREQUENCIES])


def _step(coefficients: np.ndarray) -> int:
    """The step whose multiples explain the coefficients best, but for the pixels' rounding; 0 if none does."""
    sizes = np.minimum(np.rint(4 * np.abs(coefficients)), FINE - 1).astype(int)
    histogram = np.bincount(sizes.ravel(), minlength=FINE).astype(float)
    fit, counted = combs()
    total, number = histogram @ fit, histogram @ counted
    total[(number < FEWEST) | (total < 0.1 * number)] = 0
    return int(STEPS[total.argmax()]) if total.any() else 0


def _once_compressed(coefficients: np.ndarray, shifted: np.ndarray, step: int) -> tuple[float, np.ndarray]:
    """How much better two compressions explain the picture than one; and the blocks' log-likelihood ratio for one.

    `shifted`, on a grid that no compression used, tells what one compression alone makes of the histogram.
    """
    quantised, once = (np.rint(c / step).astype(int) for c in (coefficients, shifted))
    inside = np.abs(quantised) <= REACH
    histogram = np.bincount(quantised[inside] + REACH, minlength=2 * REACH + 1)
    model = np.bincount(once[np.abs(once) <= REACH] + REACH, minlength=2 * REACH + 1) + 0.5
    model = model + model[::-1]  # real histograms are even, but for chance
    model /= model.sum()
    twice = periodic(step) * model
    ratio = twice / twice.sum(-1, keepdims=True) / model
    # The mean gain over the model of one compression tells the first step.
    gain = np.log((1 - FORGED) * ratio + FORGED) @ histogram / max(histogram.sum(), 1)
    gain[step % FIRST == 0] = 0  # a multiple of the first step leaves no trace
    if gain.max() <= GAIN:
        return 0.0, np.zeros(coefficients.shape, np.float32)
    best = -np.log(np.maximum(ratio[gain.argmax()], 0.2))  # bounded: a single coefficient may be wrong
    evidence = np.where(inside, best[np.clip(quantised + REACH, 0, 2 * REACH)], 0).astype(np.float32)
    return float(gain.max()), evidence
