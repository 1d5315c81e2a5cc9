"""What the options of `pimjax` take: types for argparse, which says of a wrong value what it must be (status 2)."""

import argparse
import math
from collections.abc import Callable

SMALLEST_SIDE = 16  # of a tile or a scaled image, in pixels


def share(text: str) -> float:
    """Return a number from 0 to below 1, such as a threshold."""
    return _number(text, lambda number: 0 <= number < 1, "it must lie in 0 … 1, and below 1")


def whole_share(text: str) -> float:
    """Return a number from 0 to 1, such as a share of a dataset."""
    return _number(text, lambda number: 0 <= number <= 1, "it must lie in 0 … 1")


def positive(text: str) -> float:
    """Return a finite number above 0."""
    return _number(text, lambda number: 0 < number < math.inf, "it must be more than 0")


def count(text: str) -> int:
    """Return a whole number of 1 or more."""
    return _whole(text, 1)


def count_or_none(text: str) -> int:
    """Return a whole number of 0, which stands for a default, or more."""
    return _whole(text, 0, what="0, for the default, or more")


def side(text: str) -> int:
    """Return a side in pixels, as large as a model can use."""
    return _whole(text, SMALLEST_SIDE, 1 << 16)


def port(text: str) -> int:
    """Return a TCP port; 0 lets the system choose."""
    return _whole(text, 0, 65535)


def shard(text: str) -> tuple[int, int]:
    """Return (I, N) of "I/N"."""
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text}: it must be I/N with 1 ≤ I ≤ N, as in 2/8")
    return int(number), int(parts)


def _number(text: str, allowed: Callable[[float], bool], what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not allowed(number):
        raise argparse.ArgumentTypeError(f"{text}: {what}")
    return number


def _whole(text: str, low: int, high: int = 2**31 - 1, what: str = "") -> int:
    what = what or (f"a whole number of {low} or more" if high == 2**31 - 1 else f"a whole number in {low} … {high}")
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text}: it must be {what}")
    return number
