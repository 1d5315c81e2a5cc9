"""DEFACTO: manipulations of COCO photographs, made automatically."""

import re
from pathlib import Path
from typing import ClassVar

from pimjax.data.datasets.builder import Splits, UnverifiedPolarity
from pimjax.data.datasets.layout import Entry, Placed, masks_by_stem, subfolders
from pimjax.data.datasets.lists import read_list

KINDS = {"copymove": "copy_move", "splicing": "splicing", "inpainting": "inpainting"}


class Defacto(UnverifiedPolarity):
    """DEFACTO, the selections 84k (split: validation) and 12k (split: test) of the whole dataset.

    Layout, with the lists that accompany MVSS-Net (lines "image mask label", paths from here, None for no mask):
        DEFACTO84k*.txt                                 validation
        DEFACTO12k*.txt                                 test
        DEFACTO/<kind>-images/img/*.tif                 as the lists name them; so are COCO's folders
        DEFACTO/<kind>-annotations/probe_mask/*.jpg
        CoCo2014/…/*.jpg
    or, without lists, a folder per split:
        validation/<kind>_images/img/*.tif              also <kind>_img/img/…; and the same below test/
        validation/<kind>_annotations/probe_mask/<stem>.jpg
        validation/authentic/*.jpg                      photographs of COCO

    Manipulated: unverified; the smaller area of the masks, which are JPEG, is taken for it, halfway between their
    extremes. Validation: about 84,000 images, not checked; test: 6,000 authentic (COCO) and 6,000 manipulated. One of
    the splits is enough. Kinds are copymove, splicing, inpainting (numbers may follow); others are left unnamed. All
    lists of a split that are placed are joined. Some masks have another size than their image: scaled.
    """

    EXPECTED: ClassVar = {"validation": ((), ()), "test": ((6000,), (6000,))}
    LISTS: ClassVar = {"validation": "DEFACTO84k*.txt", "test": "DEFACTO12k*.txt"}

    def find(self, placed: Placed) -> Splits:
        """Each split from its lists, or else from its folder."""
        splits = {}
        for split, pattern in self.LISTS.items():
            if lists := sorted(placed.root.glob(pattern)):
                splits[split] = [entry for path in lists for entry in _listed(placed.root, path)]
            elif (placed.root / split).is_dir():
                splits[split] = _in_folder(placed, split)
        if not splits:
            raise placed.wrong("there are neither lists nor a folder validation or test in it")
        return splits


def _listed(root: Path, path: Path) -> list[Entry]:
    entries = []
    for image, mask in read_list(path):
        kind = next(filter(None, map(_kind, image.split("/"))), "") if mask else ""
        entries.append(Entry(image, root / image, root / mask if mask else None, kind))
    return entries


def _in_folder(placed: Placed, split: str) -> list[Entry]:
    entries = placed.authentic(placed.look(f"{split}/authentic"), f"{split}/authentic")
    for folder in subfolders(placed.root / split):
        if match := re.fullmatch(r"(.+)([-_])(images|img)", folder.name):
            masks = masks_by_stem(placed.need(f"{split}/{match[1]}{match[2]}annotations/probe_mask"))
            for image in placed.images(folder, f"{split}/{folder.name}"):
                entries += placed.forged(image, masks.get(image.stem), _kind(folder.name))
    return entries


def _kind(folder: str) -> str:
    """Return the kind that a folder such as "Copy-Move-images" or "splicing_1_img" tells; "" if none."""
    match = re.fullmatch(r"(.+)[-_](images|img)", folder)
    return KINDS.get(re.sub("[^a-z]", "", match[1].lower()), "") if match else ""
