"""Random-access sources of examples.

An example is {"image": uint8 RGB [H, W, 3], "mask": uint8 [H, W] (255 = manipulated), "id": str}. An authentic
photograph has an all-zero mask. Where a source knows segments of its photographs, "segments" is int32 [H, W].
"""

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from pimjax.data.images import ImageError, decode_image, decode_labels, decode_mask, read_bytes
from pimjax.data.transforms import in_proportion

Example = dict[str, Any]  # "image", "mask" and, where known, "segments": arrays; "id" and others: text


class Encoded(NamedTuple):
    """Hold an example's files as they are stored; `None` for what it lacks. No mask means authentic."""

    id: str  # stands in messages
    image: bytes
    mask: bytes | None = None
    mask_id: str = ""
    segments: bytes | None = None
    label: bool | None = None  # whether a manifest says manipulated; None: it does not say
    place: str = ""  # in the manifest, for messages: "set.csv, line 3"


class Source(abc.ABC):
    """Give examples by index. A subclass says what it holds and how it is stored; decoding is the same."""

    name: str
    passed_over: str = ""  # what of its folders is not in it, and why, in words
    annotated: Sequence[int]  # the examples that may have a mask or segments
    _decoded: dict[int, Example] | None = None  # kept

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abc.abstractmethod
    def encoded(self, index: int) -> Encoded:
        """Return the files of the example at `index`; ImageError if they cannot be read."""

    @abc.abstractmethod
    def ids(self) -> list[str]:
        """Return what tells the examples' images apart, between sources too; nothing is read for it."""

    def __getitem__(self, index: int) -> Example:
        """Return the decoded example at `index`; ImageError if its files cannot be used."""
        if self._decoded is None:
            return decode_example(self.encoded(index))
        if index not in self._decoded:
            self._decoded[index] = decode_example(self.encoded(index))
        return self._decoded[index]

    def cache_decoded(self) -> "Source":
        """Return the same source, which from now on decodes each example once and keeps it in memory."""
        self._decoded = {}
        return self

    def __repr__(self) -> str:  # grain prints it in its error messages
        return f"{type(self).__name__}({self.name}, {len(self)} images)"


def decode_example(encoded: Encoded) -> Example:
    """Decode an example. A mask of another size, but of the image's shape, is scaled (nearest neighbor).

    Raises:
        ImageError: a file cannot be decoded, the mask's shape is not the image's, or the mask contradicts the label.
    """
    image = decode_image(encoded.image, encoded.id)
    example = {"image": image, "mask": np.zeros(image.shape[:2], np.uint8), "id": encoded.id}
    if encoded.mask is not None:
        example["mask"] = align_mask(decode_mask(encoded.mask, encoded.mask_id), image, encoded)
    if encoded.segments is not None:
        example["segments"] = decode_segments(encoded, image)
    return example


def decode_segments(encoded: Encoded, image: np.ndarray) -> np.ndarray:
    """Return the example's label map, int32 [H, W]; ImageError if it is not of the image's size."""
    segments = decode_labels(encoded.segments or b"", f"{encoded.id}: its segments")
    if segments.shape != image.shape[:2]:
        raise ImageError(f"{encoded.id}: its segments are no label map of its size; correct the manifest")
    return segments


def align_mask(mask: np.ndarray, image: np.ndarray, encoded: Encoded) -> np.ndarray:
    """Return `mask` at the image's size; ImageError if its sides are not in proportion, or it contradicts the label."""
    _require_agreement(mask, encoded)
    (h, w), (H, W) = mask.shape, image.shape[:2]
    if (h, w) == (H, W):
        return mask
    if not in_proportion(mask.shape, image.shape):
        raise ImageError(
            f"{encoded.mask_id}: the mask is {w}×{h} pixels, its image {encoded.id} is {W}×{H}, of another shape; "
            "correct the mask or the manifest"
        )
    return cv2.resize(mask, (W, H), interpolation=cv2.INTER_NEAREST_EXACT)


def _require_agreement(mask: np.ndarray, encoded: Encoded) -> None:
    marked = float((mask > 127).mean())
    if encoded.label is None or encoded.label == (marked > 0):
        return
    says = "manipulated" if encoded.label else "authentic"
    marks = f"marks {marked:.2%} of it" if marked else "marks nothing"
    raise ImageError(
        f"{encoded.place}: {encoded.id} is labeled {says}, yet its mask {encoded.mask_id} {marks}; correct the line"
    )


class Record(NamedTuple):
    """Where an example's files are; no mask means authentic."""

    image: Path
    mask: Path | None = None
    segments: Path | None = None  # a label map: pixels of one value are one segment
    label: bool | None = None  # as of `Encoded`
    place: str = ""


class FileSource(Source):
    """Give examples from image files."""

    def __init__(self, records: Sequence[Record], name: str, passed_over: str = ""):
        self.records = list(records)
        self.name = name
        self.passed_over = passed_over
        self.annotated = [i for i, record in enumerate(self.records) if record.mask or record.segments]

    def __len__(self) -> int:
        return len(self.records)

    def encoded(self, index: int) -> Encoded:
        """Return the files' bytes."""
        image, mask, segments, label, place = self.records[index]
        mask_bytes, segment_bytes = (None if path is None else read_bytes(path) for path in (mask, segments))
        mask_id = "" if mask is None else str(mask)
        return Encoded(str(image), read_bytes(image), mask_bytes, mask_id, segment_bytes, label, place)

    def ids(self) -> list[str]:
        """Return the image files, resolved."""
        return [str(record.image.resolve()) for record in self.records]


class TfdsSource(Source):
    """Give examples of a dataset that `pimjax prepare-data` has prepared: original files in one array_record."""

    def __init__(self, records: Any, name: str):
        self.records = records  # a data source of TFDS, whose type has no public name
        self.name = name
        self.annotated = range(len(records))

    def __len__(self) -> int:
        return len(self.records)

    def encoded(self, index: int) -> Encoded:
        """Return the stored bytes. An authentic example's mask, all zero there, is left out."""
        try:
            record = self.records[index]
        except (
            RuntimeError,
            ValueError,
            OSError,
        ):  # what array_record and TFDS raise for bytes that they did not write
            again = "delete its folder and prepare the dataset again with pimjax prepare-data"
            raise ImageError(
                f"{self._file(index)}: damaged, {self.name} number {index} cannot be read; {again}"
            ) from None
        name = f"{self.name}, {record['id'].decode()}"
        return Encoded(name, record["image"], record["mask"] if record["label"] else None, f"{name}: its mask")

    def _file(self, index: int) -> str:
        """Return the file that holds an example."""
        split = self.records.dataset_info.splits[self.records.split]
        ends = np.cumsum(split.shard_lengths)
        return str(split.filepaths[int(np.searchsorted(ends, index, "right"))])

    def ids(self) -> list[str]:
        """Return the source's name and the example's number."""
        return [f"{self.name}:{index}" for index in range(len(self))]


class SkipUnreadable:
    """Give the next readable example in place of one that cannot be read.

    Which one that is depends on the index alone, so every worker and every rerun gets the same. Examples carry
    "skipped": the error messages of the examples passed over, one per line ("" for none).
    """

    def __init__(self, source: Source):
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        skipped = []
        for offset in range(len(self)):
            try:
                example = self.source[(index + offset) % len(self)]
            except ImageError as error:
                skipped.append(str(error))
            else:
                return example | {"skipped": "\n".join(skipped)}
        raise ValueError(f"{self.source}: none of its images can be read; the first error was: {skipped[0]}")
