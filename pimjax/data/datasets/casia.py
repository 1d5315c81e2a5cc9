"""CASIA v1, v1+ and v2: splicing and copy-move, with ground truth drawn by others."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from pimjax.data.datasets.builder import ManipulationDataset, Splits
from pimjax.data.datasets.layout import Entry, Placed, masks_by_stem, subfolders
from pimjax.data.datasets.lists import read_list
from pimjax.data.datasets.polarity import nonzero
from pimjax.data.datasets.report import BY_NUMBER, DOUBTFUL

# Tp_S_…: the region comes from the same photograph; Tp_D_…: from a different one.
KINDS = {"S": "copy_move", "D": "splicing"}


class _Casia(ManipulationDataset):
    """Hold what the three have in common."""

    SPLIT: ClassVar[str]
    AUTHENTIC: ClassVar[tuple[str, ...]]
    TAMPERED: ClassVar[tuple[str, ...]]
    GROUND_TRUTH: ClassVar[tuple[str, ...]]

    marks = staticmethod(nonzero)

    def find(self, placed: Placed) -> Splits:
        """Authentic images from their folder, manipulated ones with the mask of their name or number."""
        tampered = placed.need(*self.TAMPERED)
        images = placed.images(tampered, "Tp/Sp" if tampered.name == "Sp" else "Tp")
        masks = _masks(placed.need(*self.GROUND_TRUTH))
        pairs = pair_stems([image.stem for image in images], masks)
        entries = self.authentic(placed)
        for image in images:
            mask = masks.get(pairs.get(image.stem, ""))
            entries += placed.forged(image, mask, _kind(mask) if mask else "")
            if mask and pairs[image.stem] != image.stem:
                placed.report.note(BY_NUMBER, f"{image.id}: {mask.name}")
        return {self.SPLIT: entries}

    def authentic(self, placed: Placed) -> list[Entry]:
        """Return the authentic images."""
        return placed.authentic(placed.look(*self.AUTHENTIC), "Au")


class CasiaV1(_Casia):
    """CASIA v1: splicing and copy-move, mostly 384×256, JPEG.

    Layout:
        Au/*.jpg
        Tp/CM/*.jpg, Tp/Sp/*.jpg    (also Modified Tp/Tp/…, or all in Sp/ or Tp/Sp/)
        CASIA 1.0 groundtruth/CM/<stem>_gt.png, CASIA 1.0 groundtruth/Sp/<stem>_gt.png

    Manipulated: mask values above 0. 800 authentic and 921 manipulated images, 920 with a mask. Split: test.

    About 106 masks have another name than their image: those are paired by the trailing four-digit number, among the
    images and masks that no name pairs. Masks were named anew where the kind was wrong, so the kind is the letter after
    "Sp_" in the mask's name: S copy-move, D splicing. One image has no mask (Sp_D_NRN_A_cha0011_sec0011_0542) and is
    left out. One mask (Sp_D_CNN_A_sec0012_ani0007_0275) is rotated by 90° and turned back.
    """

    SPLIT = "test"
    EXPECTED: ClassVar = {"test": ((800,), (920,))}
    AUTHENTIC = ("Au",)
    TAMPERED = ("Tp", "Modified Tp/Tp", "Modified Tp", "Sp")
    GROUND_TRUTH = ("CASIA 1.0 groundtruth",)


class CasiaV1Plus(CasiaV1):
    """CASIA v1+: CASIA v1 with 800 authentic photographs of Corel instead of its own, which CASIA v2 repeats.

    Layout:
        Au/, Corel/ or corel-1k/    the Corel photographs, in any folders below it
        CASIAv1plus.txt             optional: lines "image None 0" that name the 800 of corel-1k/, paths from here
        Tp/… and CASIA 1.0 groundtruth/… as for CASIA v1

    Manipulated: mask values above 0. 800 authentic and 920 manipulated images. Split: test. All that is said of
    CASIA v1's masks holds. Without the list, all images in the folder are taken. Names that start with "Au_" are
    reported: they are CASIA's own.
    """

    AUTHENTIC = ("Corel", "corel-1k", "Au")
    LIST = "CASIAv1plus.txt"

    def authentic(self, placed: Placed) -> list[Entry]:
        """Return the authentic images: those listed, or else all in the folder."""
        if (placed.root / self.LIST).is_file():
            listed = read_list(placed.root / self.LIST)
            return [Entry(line.image, placed.root / line.image) for line in listed if line.mask is None]
        entries = super().authentic(placed)
        for entry in entries:
            if entry.image.name.startswith("Au_"):
                placed.report.note(DOUBTFUL, f"{entry.id}: by its name one of CASIA's own, not of Corel")
        return entries


class CasiaV2(_Casia):
    """CASIA v2: splicing and copy-move, 240×160 to 900×600, JPEG, TIFF and BMP.

    Layout:
        CASIA 2.0/Au/*, CASIA 2.0/Tp/*                  (also Au/ and Tp/)
        CASIA 2 Groundtruth/<stem>_gt.png               (also in CASIA 2.0/)

    Manipulated: mask values above 0. 7,491 authentic and 5,123 manipulated images. Split: train.

    17 masks have another size than their image: scaled, or turned where only the sides are swapped. One mask is named
    _gt3.png. Masks of another name are paired by the trailing five-digit number, as in CASIA v1. Images that cannot be
    decoded are left out (Tp_D_NRD_S_B_ani20002_nat20042_02437.tif, in some loaders), and so are those without a mask.
    Authentic images of equal bytes are kept and reported. The kind is the letter after "Tp_" in the mask's name: S
    copy-move, D splicing.
    """

    SPLIT = "train"
    EXPECTED: ClassVar = {"train": ((7491,), (5123,))}
    AUTHENTIC = ("CASIA 2.0/Au", "Au")
    TAMPERED = ("CASIA 2.0/Tp", "Tp")
    GROUND_TRUTH = ("CASIA 2 Groundtruth", "CASIA 2.0/CASIA 2 Groundtruth")


def pair_stems(images: Sequence[str], masks: Iterable[str]) -> dict[str, str]:
    """Pair image stems with mask stems: equal ones first; then, among the rest, those of the same trailing number.

    Where several masks have an image's number, the one that shares most of the parts between underscores is its mask.
    Images that would share a mask, or whose masks are equally close, stay without.
    """
    pairs = {image: image for image in set(images) & set(masks)}
    by_number = defaultdict(list)
    for mask in set(masks) - set(pairs):
        by_number[_number(mask)].append(mask)
    wanted = {image: _closest(image, by_number[_number(image)]) for image in set(images) - set(pairs)}
    claims = Counter(wanted.values())
    return pairs | {image: mask for image, mask in wanted.items() if mask and claims[mask] == 1}


def _number(stem: str) -> str:
    return stem.rpartition("_")[2]


def _closest(image: str, masks: Sequence[str]) -> str | None:
    common = {mask: len(set(mask.split("_")) & set(image.split("_"))) for mask in masks}
    best = [mask for mask in masks if common[mask] == max(common.values())]
    return best[0] if len(best) == 1 else None


def _masks(folder: Path) -> dict[str, Path]:
    """Return mask files in a folder and those directly below it, by the stem of their image: without _gt, or _gt3."""
    masks: dict[str, Path] = {}
    for place in [folder, *subfolders(folder)]:
        for name, path in sorted(masks_by_stem(place).items()):
            if match := re.fullmatch(r"(.+)_gt\d*", name):
                masks.setdefault(match[1], path)
    return masks


def _kind(mask: Path) -> str:
    return KINDS.get(mask.name.split("_")[1], "")
