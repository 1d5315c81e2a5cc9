"""Other photographs, from which forgeries cut regions and borrow masks."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from pimjax.data.images import ImageError, decode_labels, decode_mask
from pimjax.data.sources import Example, SkipUnreadable, Source


@dataclasses.dataclass(frozen=True)
class Donors:
    """Random photographs of some sources, each as likely as any other."""

    sources: tuple[Source, ...]

    def photograph(self, rng: np.random.Generator) -> Example:
        """Return one of them; of one that cannot be read, the next."""
        source, index = _draw([(source, range(len(source))) for source in self.sources], rng)
        return SkipUnreadable(source)[index]

    @property
    def lend(self) -> bool:
        """Return whether any has masks or segments."""
        return any(len(source.annotated) for source in self.sources)

    def labels(self, rng: np.random.Generator) -> np.ndarray | None:
        """Return a label map int32 [h, w]: segments, or 1 where manipulated; None where the photograph drawn has
        neither.
        """
        source, index = _draw([(source, source.annotated) for source in self.sources], rng)
        try:
            encoded = source.encoded(index)
            if encoded.segments is not None:
                return decode_labels(encoded.segments, encoded.id)
            mask = None if encoded.mask is None else decode_mask(encoded.mask, encoded.mask_id)
            return None if mask is None else (mask // 128).astype(np.int32)
        except ImageError:  # which training reports when the image's own turn comes
            return None


def _draw(places: Sequence[tuple[Source, Sequence[int]]], rng: np.random.Generator) -> tuple[Source, int]:
    """Return a source and one of its indices, each as likely as any other."""
    number = int(rng.integers(sum(len(indices) for _, indices in places)))
    for source, indices in places:
        if number < len(indices):
            return source, indices[number]
        number -= len(indices)
    raise AssertionError("unreachable")
