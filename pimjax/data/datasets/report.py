"""What a preparation found and what was odd about it; kept as the prepared dataset's metadata."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from pimjax.files import printable

# Headings of the report; each lists the files concerned.
UNUSABLE = "images skipped, a file cannot be used"
NO_MASK = "images skipped, no mask"
LISTED_TWICE = "images listed twice, taken once"
SCALED = "masks scaled to the image"
ROTATED = "masks rotated"
EMPTY = "masks that mark nothing"
FULL = "masks that mark everything"
BY_NUMBER = "masks of another name, paired by number"
SHARED = "masks that serve several images"
EQUAL = "authentic images of equal bytes"
NO_FOLDER = "folders not found"
NOT_IMAGES = "files that are no images, ignored"
UNREAD = "images of formats that are not read, or without a suffix, left out"
LITTER = "files and folders of systems and programs, and hidden ones, left out"
FOLDERS = "folders not entered"
DOUBTFUL = "doubtful"

Expected = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]  # split: authentic, manipulated; () for no figure


class Report:
    """Gathers the findings of one preparation."""

    def __init__(self) -> None:
        self.notes: dict[str, list[str]] = defaultdict(list)
        self.counts: dict[str, Counter[str]] = {}

    def note(self, heading: str, text: str) -> None:
        """Add a line below one of the headings."""
        self.notes[heading].append(text)

    def metadata(self, polarity: str, expected: Expected) -> dict:
        """Return all of it, as JSON can hold it."""
        counts = {
            split: {label: n[label] for label in ("authentic", "manipulated")} for split, n in self.counts.items()
        }
        return {
            "counts": counts,
            "polarity": polarity,
            "warnings": count_warnings(counts, expected),
            "report": dict(self.notes),
        }


def count_warnings(counts: Mapping[str, Mapping[str, int]], expected: Expected) -> list[str]:
    """Return one sentence for each count that is not one of those the dataset is known by, and for each split not
    found.
    """
    warnings = []
    for split, figures in expected.items():
        if split not in counts:
            warnings.append(f"{split}: not found")
            continue
        for label, known in zip(("authentic", "manipulated"), figures, strict=True):
            found = counts[split][label]
            if known and found not in known:
                warnings.append(f"{split}: {found:,} {label}, expected {' or '.join(f'{n:,}' for n in known)}")
    return warnings


def summary(metadata: Mapping, shown: int = 3) -> str:
    """Return the metadata as lines of text: counts, polarity, warnings, and the first files below each heading."""
    lines = [
        f"{split}: {counts['authentic']:,} authentic, {counts['manipulated']:,} manipulated"
        for split, counts in metadata["counts"].items()
    ]
    lines.append(f"polarity: {metadata['polarity']}")
    lines += [f"warning: {warning}" for warning in metadata["warnings"]]
    for heading, files in metadata["report"].items():
        more = f"; and {len(files) - shown:,} more, in the metadata" if len(files) > shown else ""
        lines.append(f"{heading} ({len(files):,}): {'; '.join(files[:shown])}{more}")
    return "\n".join(f"  {printable(line)}" for line in lines)
