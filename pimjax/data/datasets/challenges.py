"""Sets of public challenges: NIST16 (Nimble 2016) and IFC (IFS-TC Image Forensics Challenge)."""

import csv
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from pimjax.data.datasets.builder import ManipulationDataset, Splits, UnverifiedPolarity
from pimjax.data.datasets.layout import Entry, Image, Placed
from pimjax.data.datasets.polarity import black
from pimjax.data.labels import read_label


class Nist16(ManipulationDataset):
    """NIST16 (NC2016): splicing, copy-move and removal; very large images.

    Layout:
        probe/*.jpg
        world/*.jpg
        reference/manipulation/mask/*.png
        reference/manipulation/NC2016-manipulation-ref.csv

    Manipulated: black (mask values below 180). 560 or 874 authentic images, depending on what a work counts, and 564
    manipulated ones. Split: test.

    Masks have other names than probes; the index, whose columns "|" separates, pairs them: a probe is manipulated where
    IsTarget is Y. Authentic are the index's other probes; in the configuration nist16/world, the images of world/
    instead (whether those are the 874 is unverified). The kind is what the IsManipulationType columns say, joined by
    "+" where there are several. Some works use a subset of 160 images, which is theirs and not marked here.
    """

    EXPECTED: ClassVar = {"test": ((560, 874), (564,))}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="index", description="Authentic: the probes that the index calls no target."),
        tfds.core.BuilderConfig(name="world", description="Authentic: the images of world/."),
    ]
    INDEX = "reference/manipulation/NC2016-manipulation-ref.csv"
    KINDS: ClassVar = {
        "IsManipulationTypeSplice": "splicing",
        "IsManipulationTypeCopyClone": "copy_move",
        "IsManipulationTypeRemoval": "removal",
    }
    marks = staticmethod(black)

    def find(self, placed: Placed) -> Splits:
        """The rows of the index."""
        index = placed.root / self.INDEX
        if not index.is_file():
            raise placed.wrong(f"there is no {self.INDEX} in it")
        world = self.config_name == "world"
        entries = placed.authentic(placed.need("world"), "world") if world else []
        for row in _rows(index):
            probe, mask = row["ProbeFileName"].strip(), row["ProbeMaskFileName"].strip()
            if row["IsTarget"]:
                kinds = [kind for column, kind in self.KINDS.items() if row.get(column, "").strip() == "Y"]
                found = placed.root / mask if mask else None
                entries += placed.forged(Image(probe, placed.root / probe), found, "+".join(kinds))
            elif not world:
                entries.append(Entry(probe, placed.root / probe))
        return {"test": entries}


def _rows(index: Path) -> list[dict[str, Any]]:
    """Return the rows of the index, with "IsTarget" as a truth value."""
    with index.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter="|", restval=""))
    needed = ("ProbeFileName", "ProbeMaskFileName", "IsTarget")
    if lacking := [column for column in needed if not rows or column not in rows[0]]:
        raise ValueError(
            f"{index}: no column {', '.join(lacking)}, or no rows; use the index as it is distributed, with | between "
            "the columns"
        )
    return [row | {"IsTarget": _is_target(row["IsTarget"], f"{index}, row {n}")} for n, row in enumerate(rows, 1)]


def _is_target(word: str, place: str) -> bool:
    try:
        label = read_label(word)
    except ValueError:
        label = None
    if label is None:
        raise ValueError(f"{place}: IsTarget is {word!r}, neither Y nor N; correct it")
    return label


class Ifc(UnverifiedPolarity):
    """IFC: phase 1, training images, of the IFS-TC Image Forensics Challenge, PNG.

    Layout:
        phase-01/training/pristine/<md5>.png            (also training/…)
        phase-01/training/fake/<md5>.png
        phase-01/training/fake/<md5>.mask.png

    Manipulated: unverified; the smaller area of the masks is taken for it. Masks have 1, 3 or 4 channels: the mean of
    the colors counts, transparency does not. 1,050 authentic and 450 manipulated images. Split: test.
    """

    EXPECTED: ClassVar = {"test": ((1050,), (450,))}

    def find(self, placed: Placed) -> Splits:
        """Images and masks lie in one folder; masks end in .mask.png."""
        images = placed.images(placed.need("phase-01/training/fake", "training/fake"), "fake")
        masks = {image.stem: image.path for image in images if image.stem.endswith(".mask")}
        entries = placed.authentic(placed.look("phase-01/training/pristine", "training/pristine"), "pristine")
        for image in images:
            if image.stem not in masks:
                entries += placed.forged(image, masks.get(f"{image.stem}.mask"))
        return {"test": entries}
