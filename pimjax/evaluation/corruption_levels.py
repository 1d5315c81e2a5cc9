"""The levels of every corruption: which are measured, which may be asked for. Plain Python, for the command's help."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Levels(NamedTuple):
    """How strongly one corruption is measured, and may be."""

    unit: str
    usual: tuple[float, ...]  # in the order of a table
    low: float  # the range of what may be asked for, both ends included
    high: float
    step: float = 0  # between allowed levels, from `low` on; 0: any real number


_SIZES = (3, 7, 11, 15, 19, 23)
_SHIFTS = (10, 20, 30, 40, 50, 60, 70, 80, 90)
LEVELS = {
    "blur": Levels("kernel side, pixels", _SIZES, 1, 255, 2),
    "noise": Levels("standard deviation, gray levels", _SIZES, 0, 255),
    "noise-variance": Levels("variance, gray levels squared", _SIZES, 0, 65025),
    "jpeg": Levels("quality", (50, 60, 70, 80, 90, 100), 1, 100, 1),
    "double-jpeg": Levels("quality, then 90", (50, 60, 70, 80, 95), 1, 100, 1),
    "grid-shift": Levels("rows and columns cut off, then JPEG 95", (1, 2, 3, 4, 5, 6, 7), 0, 1000, 1),
    "scaled-jpeg": Levels("factor, then JPEG 85", (0.9, 0.75, 0.5), 0.01, 4),
    "webp": Levels("quality", (90, 80, 70, 60, 50), 1, 100, 1),
    "avif": Levels("quality", (90, 80, 70, 60, 50), 0, 100, 1),
    "screenshot": Levels("factor, saved without loss", (1.25, 0.9, 0.75, 0.5, 0.33), 0.01, 4),
    "facebook": Levels("quality, longest side 2048", (95, 87, 79, 71), 1, 100, 1),
    "whatsapp": Levels("quality, longest side 1600", (80, 70, 60), 1, 100, 1),
    "gamma": Levels("exponent", (0.7, 0.85, 1, 1.15, 1.3), 0.01, 100),
    "resize": Levels("factor", (0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75), 0.01, 4),
    "rescale": Levels("factor, and back", (0.75, 0.5, 0.25), 0.01, 4),
    "brightness-up": Levels("gray levels", _SHIFTS, 0, 255),
    "brightness-down": Levels("gray levels", tuple(-shift for shift in _SHIFTS), -255, 0),
    "contrast": Levels("factor", (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1), 0, 10),
    "dithering": Levels("gray levels per channel", (64, 48, 32, 24, 16, 8, 6, 4, 2), 2, 256, 1),
    "jpeg2000": Levels("compression ratio", (5, 10, 15, 20, 30, 40, 60, 80, 100), 1, 1000),
    "pink-noise": Levels("standard deviation, gray levels", (3, 6, 9, 12, 15, 18, 21, 24, 27), 0, 255),
}


def chosen_levels(texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return the levels that texts such as "jpeg=90,75" ask for by corruption; "jpeg" alone asks for the usual ones.

    Raises:
        ValueError: there is no such corruption, or no such level of it.
    """
    chosen: dict[str, tuple[float, ...]] = {}
    for text in texts:
        name, equals, asked = text.partition("=")
        if name not in LEVELS:
            known = "; ".join(describe(other) for other in LEVELS)
            raise ValueError(f"corruption {name!r}: it must be one of these, NAME or NAME=LEVEL,LEVEL: {known}")
        levels = tuple(_level(name, part) for part in asked.split(",")) if equals else LEVELS[name].usual
        chosen[name] = tuple(dict.fromkeys((*chosen.get(name, ()), *levels)))
    return chosen


def describe(name: str) -> str:
    """Return a corruption's name, unit and usual levels in words."""
    return f"{name} ({LEVELS[name].unit}: {', '.join(f'{level:g}' for level in LEVELS[name].usual)})"


def _level(name: str, text: str) -> float:
    of = LEVELS[name]
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if not of.low <= level <= of.high or (of.step and (level - of.low) % of.step):
        kind = "" if not of.step else "whole numbers, " if of.step == 1 else "odd numbers, "
        raise ValueError(f"corruption {name}={text}: levels are {kind}{of.low:g} … {of.high:g} ({of.unit})")
    return int(level) if level.is_integer() else level
