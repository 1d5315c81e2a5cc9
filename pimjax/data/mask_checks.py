"""What makes stored values no mask of white on black, before they are reduced to one channel."""

import numpy as np

_MANY = 0.05  # share of the pixels that are not black; compression colors the edges of fewer


def transparency_fault(values: np.ndarray) -> str:
    """Return what is wrong with a mask that only its alpha channel draws, and what to do; "" of another.

    Args:
        values: as decoded with all channels, integers [H, W] or [H, W, C]; of four channels the last is alpha.
    """
    if values.ndim == 2 or values.shape[2] != 4 or not _is_uniform(values[..., :3].max(-1)):
        return ""
    if _is_uniform(values[..., 3]):
        return ""
    return "only its transparency tells parts apart, which is not read; save it as 8-bit gray, 0 and 255"


def color_fault(values: np.ndarray) -> str:
    """Return what is wrong with a color-coded mask and what to do; "" of another, such as yellow alone on black.

    Args:
        values: integers [H, W] or [H, W, 3].
    """
    if values.ndim == 2:
        return ""
    step = 1 + max(values.shape) // 4096  # shares of a large mask need not all of its pixels
    values = values[::step, ::step]
    brightest = values.max(-1)
    lit = brightest > brightest.max() / 8
    pixels = values[lit]
    # The channels above half of a pixel's brightest tell its color: all three of white and gray.
    hue = (pixels > brightest[lit][:, None] / 2) @ np.array([4, 2, 1])
    found = np.flatnonzero(np.bincount(hue, minlength=8) > _MANY * len(hue))
    if not len(found) or found.tolist() == [7]:
        return ""
    if len(found) == 1 and (pixels.mean(-1) > brightest.max() / 2).mean() > 1 - _MANY:
        return ""
    return "color-coded; save it as 8-bit gray, 255 where manipulated and 0 elsewhere"


def gray_share(mask: np.ndarray) -> float:
    """Return the share of a mask's values, uint8 [H, W], that are neither near black nor near white."""
    return float(((mask > 20) & (mask < 235)).mean())


def _is_uniform(channel: np.ndarray) -> bool:
    """Tell whether all of a channel lies on one side of half its largest value."""
    above = channel > channel.max() / 2
    return bool(above.all() or not above.any())
