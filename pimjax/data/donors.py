"""Other photographs, from which forgeries cut regions and borrow masks."""

import dataclasses

import numpy as np

from pimjax.data.images import ImageError, decode_mask, decode_values
from pimjax.data.sources import Example, SkipBroken, Source


@dataclasses.dataclass(frozen=True)
class Donors:
    """Random photographs of some sources, each as likely as any other."""

    sources: tuple[Source, ...]

    def photograph(self, rng: np.random.Generator) -> Example:
        """One of them; of one that cannot be read, the next."""
        source, index = self._any(self.sources, rng)
        return SkipBroken(source)[index]

    @property
    def lend(self) -> bool:
        """Whether any has masks or segments."""
        return any(source.annotated for source in self.sources)

    def labels(self, rng: np.random.Generator) -> np.ndarray | None:
        """A label map int [h, w]: segments, or 1 where manipulated; None where the photograph drawn has neither."""
        source, index = self._any([source for source in self.sources if source.annotated], rng)
        try:
            encoded = source.encoded(index)
            if encoded.segments is not None:
                return decode_values(encoded.segments, encoded.id)
            return None if encoded.mask is None else decode_mask(encoded.mask, encoded.mask_id) // 128
        except ImageError:  # which training reports when the image's own turn comes
            return None

    @staticmethod
    def _any(sources: tuple[Source, ...] | list[Source], rng: np.random.Generator) -> tuple[Source, int]:
        starts = np.cumsum([0, *map(len, sources)])
        number = int(rng.integers(starts[-1]))
        which = int(np.searchsorted(starts, number, side="right")) - 1
        return sources[which], number - int(starts[which])
