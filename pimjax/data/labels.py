"""Words of manifests and lists: those that say whether an image is manipulated, and those that stand for no mask."""

_NOTHING = frozenset({"", "none", "null", "nan", "na", "n/a", "nil", "-"})  # some of them are pandas'
_NO_MASK = _NOTHING | {"negative"}  # as the lists of some benchmarks have it
# fmt: off
_MANIPULATED = frozenset({
    "1", "true", "t", "yes", "y", "positive", "fake", "tampered", "manipulated", "forged", "forgery", "altered",
    "edited", "splice", "spliced", "splicing", "copy-move", "copy_move", "copymove", "inpainted", "inpainting",
    "removal",
})
_AUTHENTIC = frozenset({
    "0", "false", "f", "no", "n", "negative", "real", "authentic", "original", "pristine", "genuine", "untampered",
    "unmanipulated", "unaltered",
})
# fmt: on


def read_label(word: str) -> bool | None:
    """Return whether a label says manipulated; None if it is empty, or a word for nothing.

    Raises:
        ValueError: it says neither; the message has no place in front.
    """
    word = word.strip()
    known = word.lower()
    if known in _NOTHING:
        return None
    if known in _MANIPULATED or _number(known) == 1:
        return True
    if known in _AUTHENTIC or _number(known) == 0:
        return False
    raise ValueError(f"label {word!r} is unknown; write 1 (manipulated) or 0 (authentic)")


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def names_a_mask(cell: str) -> bool:
    """Tell whether a cell names a file, rather than being empty or "None"."""
    return cell.strip().lower() not in _NO_MASK
