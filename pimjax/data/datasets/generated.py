"""Sets with regions made by generative models: AutoSplice, CocoGlide, Diverse Inpainting."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from pimjax.data.datasets.builder import ManipulationDataset, Splits, UnverifiedPolarity
from pimjax.data.datasets.layout import Placed, masks_by_stem, subfolders
from pimjax.data.datasets.polarity import nonzero, white
from pimjax.data.datasets.report import DOUBTFUL


class Autosplice(ManipulationDataset):
    """AutoSplice: regions replaced by DALL-E 2 as a text asked; three JPEG qualities.

    Layout:
        Authentic/*.jpg
        Forged_JPEG100/<id>_<k>.jpg, Forged_JPEG90/…, Forged_JPEG75/…
        Mask/<id>_mask.png

    Manipulated: mask values above 0. 2,273 authentic and 3,621 manipulated images, the latter the same in each
    quality. Split: test. The configuration says which quality is read: autosplice/jpeg100 (the default),
    autosplice/jpeg90 or autosplice/jpeg75. One mask serves several images.
    """

    EXPECTED: ClassVar = {"test": ((2273,), (3621,))}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name=f"jpeg{quality}", description=f"Manipulated images of JPEG quality {quality}.")
        for quality in (100, 90, 75)
    ]
    marks = staticmethod(nonzero)

    def find(self, placed: Placed) -> Splits:
        """A mask's id is its image's stem, as a rule without the last number."""
        folder = f"Forged_{self.config_name.upper()}"
        masks = masks_by_stem(placed.need("Mask"))
        entries = placed.authentic(placed.look("Authentic"), "Authentic")
        for image in placed.images(placed.need(folder), folder):
            names = (image.stem, image.stem.rpartition("_")[0])
            mask = next((masks[f"{name}_mask"] for name in names if f"{name}_mask" in masks), None)
            entries += placed.forged(image, mask, "inpainting")
        return {"test": entries}


class Cocoglide(ManipulationDataset):
    """CocoGlide: objects of COCO photographs replaced by GLIDE, PNG, 256×256.

    Layout:
        fake/glide_inpainting_val2017_<id>_up.png
        mask/<class>_<id>_mask.png
        real/<class>_<id>.png

    Manipulated: white (mask values above 120). 512 authentic and 512 manipulated images. Split: test. Image and mask
    are paired by id; class names may contain spaces. An image whose id several masks have is left out and reported.
    """

    EXPECTED: ClassVar = {"test": ((512,), (512,))}
    marks = staticmethod(white)

    def find(self, placed: Placed) -> Splits:
        """The id is the last number of a name but for its suffix."""
        masks = _by_number(masks_by_stem(placed.need("mask")), r".+_(\d+)_mask")
        entries = placed.authentic(placed.look("real"), "real")
        for image in placed.images(placed.need("fake"), "fake"):
            match = re.fullmatch(r".+_(\d+)_up", image.stem)
            candidates = masks[match[1]] if match else []
            if len(candidates) > 1:
                names = ", ".join(sorted(path.name for path in candidates))
                placed.report.note(DOUBTFUL, f"{image.id}: several masks have its id, {names}")
            entries += placed.forged(image, candidates[0] if len(candidates) == 1 else None, "inpainting")
        return {"test": entries}


class DiverseInpainting(UnverifiedPolarity):
    """Diverse inpainting: photographs inpainted by 11 methods, PNG.

    Layout:
        <method>/<n>.png
        <method>/<n>_mask.png

    Manipulated: unverified; the smaller area of the masks is taken for it. 11,000 manipulated images, 1,000 of each
    method; no authentic ones. Split: test. Two methods have images of the same names, which the ids tell apart by the
    method's folder.
    """

    EXPECTED: ClassVar = {"test": ((0,), (11_000,))}

    def find(self, placed: Placed) -> Splits:
        """Every folder is a method's."""
        entries = []
        for folder in subfolders(placed.root):
            masks = masks_by_stem(folder)
            for image in placed.images(folder, folder.name, deep=False):
                if not image.stem.endswith("_mask"):
                    entries += placed.forged(image, masks.get(f"{image.stem}_mask"), "inpainting")
        return {"test": entries}


def _by_number(files: Mapping[str, Path], pattern: str) -> dict[str, list[Path]]:
    """Return files by the number that the pattern finds in their stems."""
    found = defaultdict(list)
    for stem, path in files.items():
        if match := re.fullmatch(pattern, stem):
            found[match[1]].append(path)
    return found
