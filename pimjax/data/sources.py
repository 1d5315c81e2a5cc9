"""Random-access sources of examples: folders of photographs, CSV manifests, and photographs that packages install.

An example is {"image": uint8 RGB [H, W, 3], "mask": uint8 [H, W] (255 = manipulated), "id": str}. An authentic
photograph has an all-zero mask.
"""

import csv
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from pimjax.data.images import SUFFIXES, ImageError, read_image, read_mask

Example = dict[str, np.ndarray | str]


class Source(Protocol):
    """What the pipeline reads from: a length, and examples by index."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, index: int) -> Example:
        """The example at `index`; ImageError if its files cannot be used."""


class Record(NamedTuple):
    """Where an example's files are; no mask means authentic."""

    image: Path
    mask: Path | None = None


class FileSource:
    """Examples from image files and their masks, decoded when asked for; or kept, where they are few."""

    def __init__(self, records: Sequence[Record], name: str, keep_decoded: bool = False):
        self.records = list(records)
        self.name = name
        self._decoded: dict[int, Example] | None = {} if keep_decoded else None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        if self._decoded is None:
            return self._read(self.records[index])
        if index not in self._decoded:
            self._decoded[index] = self._read(self.records[index])
        return self._decoded[index]

    @staticmethod
    def _read(record: Record) -> Example:
        image = read_image(record.image)
        if record.mask is None:
            mask = np.zeros(image.shape[:2], np.uint8)
        else:
            mask = read_mask(record.mask)
            if mask.shape != image.shape[:2]:
                (h, w), (H, W) = mask.shape, image.shape[:2]
                raise ImageError(
                    f"{record.mask}: the mask is {w}×{h} pixels, its image {record.image} is {W}×{H}; "
                    "scale the mask with nearest neighbour, or correct the manifest"
                )
        return {"image": image, "mask": mask, "id": str(record.image)}

    def paths(self) -> set[str]:
        """The image files, resolved, to compare sources by."""
        return {str(record.image.resolve()) for record in self.records}

    def __repr__(self) -> str:  # grain prints it in its error messages
        return f"FileSource({self.name}, {len(self)} images)"


def folder_source(folder: str | os.PathLike) -> FileSource:
    """All photographs below `folder`, in the order of their paths, as authentic examples.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no photograph is in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a folder of photographs")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise ValueError(f"{folder}: holds no photographs ({', '.join(sorted(SUFFIXES))}); give another folder")
    return FileSource([Record(path) for path in paths], str(folder))


def csv_source(manifest: str | os.PathLike) -> FileSource:
    """The images and masks of a CSV manifest; paths are relative to the manifest's folder.

    With a header, the columns "image" and (if present) "mask" are read and others ignored. Without one, the first
    two columns are image and mask: both `image,mask,label` and `image,mask,boundary,label` are read so. An empty
    mask or "None" marks an authentic image. Boundaries are derived from masks, not read.

    Raises:
        FileNotFoundError: no such manifest.
        ValueError: the manifest is empty, is not text, or has a row without an image.
    """
    manifest = Path(manifest)
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest}: no such manifest; give a CSV file with the columns image,mask")
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = [(reader.line_num, row) for reader in [csv.reader(file)] for row in reader if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{manifest}: not a CSV file in UTF-8 ({error}); save it as one") from None
    image_column, mask_column = 0, 1
    if rows and "image" in (header := [cell.strip().lower() for cell in rows[0][1]]):
        rows, image_column = rows[1:], header.index("image")
        mask_column = header.index("mask") if "mask" in header else len(header)
    if not rows:
        raise ValueError(f"{manifest}: lists no images; write one row image,mask per image")
    records = []
    for line, row in rows:
        image = row[image_column].strip() if image_column < len(row) else ""
        if not image:
            raise ValueError(
                f"{manifest}, line {line}: no image in column {image_column + 1}; complete or delete the row"
            )
        mask = row[mask_column].strip() if mask_column < len(row) else ""
        records.append(Record(manifest.parent / image, manifest.parent / mask if mask not in ("", "None") else None))
    return FileSource(records, str(manifest))


# The colour photographs of scikit-image, scikit-learn and matplotlib, as (package, file). Validation never trains.
INSTALLED = {
    "train": (
        ("skimage", "data/astronaut.png"),
        ("skimage", "data/coffee.png"),
        ("skimage", "data/rocket.jpg"),
        ("skimage", "data/motorcycle_left.png"),
        ("sklearn", "datasets/images/flower.jpg"),
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ),
    "validation": (
        ("skimage", "data/chelsea.png"),
        ("sklearn", "datasets/images/china.jpg"),
    ),
}


def installed_source(split: str) -> FileSource:
    """Photographs that three Python packages install beside their code: "train" (6) or "validation" (2).

    Raises:
        ValueError: another split.
        FileNotFoundError: a package is not installed.
    """
    if split not in INSTALLED:
        raise ValueError(f"installed:{split}: no such split; use installed:train or installed:validation")
    records = []
    for package, file in INSTALLED[split]:
        spec = importlib.util.find_spec(package)
        path = Path(spec.origin).parent / file if spec and spec.origin else None
        if path is None or not path.is_file():
            raise FileNotFoundError(
                f"installed:{split}: the photograph {file} of {package} is missing; install it with "
                "pip install -e '.[demo]'"
            )
        records.append(Record(path))
    return FileSource(records, f"installed:{split}", keep_decoded=True)


def open_source(name: str) -> FileSource:
    """The source a configuration names: "folder:DIR", "csv:FILE", "installed:train" or "installed:validation".

    Raises:
        ValueError, FileNotFoundError: the name or what it points to cannot be used.
    """
    kind, _, where = name.partition(":")
    openers = {"folder": folder_source, "csv": csv_source, "installed": installed_source}
    if kind not in openers or not where:
        raise ValueError(f"data source {name!r}: use folder:DIR, csv:FILE, installed:train or installed:validation")
    return openers[kind](where)


class SkipBroken:
    """A source whose unreadable examples are replaced by the next readable one.

    Which one that is depends on the index alone, so every worker and every rerun gets the same. Examples carry
    "skipped": the error messages of the examples passed over, one per line ("" for none).
    """

    def __init__(self, source: FileSource):
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
