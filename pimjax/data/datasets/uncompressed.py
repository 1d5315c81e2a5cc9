"""Sets of uncompressed or losslessly stored photographs: Columbia, COVERAGE, Carvalho's DSO-1, Korus."""

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from pimjax.data.datasets import polarity
from pimjax.data.datasets.builder import ManipulationDataset, Splits
from pimjax.data.datasets.layout import Entry, Placed, masks_by_stem


class Columbia(ManipulationDataset):
    """Columbia Uncompressed Image Splicing Detection: splicing between four cameras, TIFF.

    Layout:
        4cam_auth/*.tif
        4cam_splc/*.tif
        4cam_splc/edgemask/<stem>_edgemask.jpg

    Manipulated: values above 120 in the green channel, which tells donor from host; the JPEG noise of the masks stays
    below, and a threshold on gray or on the mean is wrong. 183 authentic and 180 manipulated images. Split: test.
    """

    EXPECTED: ClassVar = {"test": ((183,), (180,))}
    marks = staticmethod(polarity.green)

    def find(self, placed: Placed) -> Splits:
        """Only images directly in 4cam_splc: its subfolder holds masks."""
        spliced, masks = placed.need("4cam_splc"), masks_by_stem(placed.need("4cam_splc/edgemask"))
        entries = placed.authentic(placed.look("4cam_auth"), "4cam_auth")
        for image in placed.images(spliced, "4cam_splc", deep=False):
            entries += placed.forged(image, masks.get(f"{image.stem}_edgemask"), "splicing")
        return {"test": entries}


class Coverage(ManipulationDataset):
    """COVERAGE: copy-move of objects that resemble others in the photograph, TIFF.

    Layout:
        image/<n>.tif, image/<n>t.tif                        t: manipulated
        mask/<n>forged.tif, mask/<n>copy.tif, mask/<n>paste.tif

    Manipulated: values above 120 of the mask "forged"; "copy" and "paste" are not used. 100 authentic and 100
    manipulated images. Split: test. The masks of 41, 48, 55 to 59, 61 and 95 have another size: scaled.
    """

    EXPECTED: ClassVar = {"test": ((100,), (100,))}
    marks = staticmethod(polarity.white)

    def find(self, placed: Placed) -> Splits:
        """A t after the number tells manipulated images."""
        images = placed.images(placed.need("image"), "image", deep=False)
        masks = masks_by_stem(placed.need("mask"))
        entries = [Entry(*image) for image in images if not image.stem.endswith("t")]
        for image in images:
            if image.stem.endswith("t"):
                entries += placed.forged(image, masks.get(image.stem.removesuffix("t") + "forged"), "copy_move")
        return {"test": entries}


class Dso1(ManipulationDataset):
    """DSO-1 (Carvalho): people spliced into photographs of groups, PNG, 2048×1536.

    Layout:
        DSO-1/normal-<n>.png, DSO-1/splicing-<n>.png         (also tifs-database/DSO-1/…)
        DSO-1-Fake-Images-Masks/splicing-<n>.png             or, of a re-release: DSO_GT/splicing-<n>_gt.png

    Manipulated: black (values below 180) in DSO-1-Fake-Images-Masks, white (above 120) in DSO_GT; the former are read
    where both are placed. 100 authentic and 100 manipulated images. Split: test.
    """

    EXPECTED: ClassVar = {"test": ((100,), (100,))}
    ORIGINAL = "DSO-1-Fake-Images-Masks"

    def find(self, placed: Placed) -> Splits:
        """The mask folder's name says which release it is, and so the polarity."""
        folders = [f"{outer}{name}" for name in (self.ORIGINAL, "DSO_GT") for outer in ("", "tifs-database/")]
        folder = placed.need(*folders)
        original = folder.name == self.ORIGINAL
        self.marks = polarity.black if original else polarity.white
        masks = masks_by_stem(folder)
        entries = []
        for image in placed.images(placed.need("DSO-1", "tifs-database/DSO-1"), "DSO-1", deep=False):
            if image.stem.startswith("normal"):
                entries.append(Entry(*image))
            else:
                entries += placed.forged(image, masks.get(image.stem if original else f"{image.stem}_gt"), "splicing")
        return {"test": entries}


class Korus(ManipulationDataset):
    """Realistic Tampering (Korus): objects inserted and removed by hand, TIFF, 1920×1080, four cameras.

    Layout:
        <camera>/tampered-realistic/*.TIF                    (also data-images/<camera>/…)
        <camera>/ground-truth/<stem>.PNG
        <camera>/pristine/*.TIF
    with the cameras Canon_60D, Nikon_D90, Nikon_D7000, Sony_A57

    Manipulated: white. Gray marks collateral changes, which count in the configuration korus/gray only; a value is
    taken for the nearest of black, middle gray and white. 220 authentic and 220 manipulated images. Split: test.
    """

    EXPECTED: ClassVar = {"test": ((220,), (220,))}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="white", description="Gray, the collateral changes, does not count."),
        tfds.core.BuilderConfig(name="grey", description="Gray, the collateral changes, counts as manipulated."),
    ]
    CAMERAS = ("Canon_60D", "Nikon_D90", "Nikon_D7000", "Sony_A57")

    def marks(self, values: np.ndarray) -> np.ndarray:
        """Return the levels that the configuration counts."""
        return self._levels()(values)

    def polarity(self, splits: Splits) -> str:
        """Return the levels that the configuration counts, in words."""
        return polarity.in_words(self._levels())

    def _levels(self):
        return polarity.white_or_gray if self.config_name == "grey" else polarity.white_not_gray

    def find(self, placed: Placed) -> Splits:
        """Cameras that are not placed are reported; one is enough."""
        entries = []
        for camera in self.CAMERAS:
            outer = placed.look(camera, f"data-images/{camera}")
            if outer is None:
                continue
            below = outer.relative_to(placed.root).as_posix()
            masks = masks_by_stem(placed.need(f"{below}/ground-truth"))
            entries += placed.authentic(placed.look(f"{below}/pristine"), f"{camera}/pristine")
            for image in placed.images(placed.need(f"{below}/tampered-realistic"), f"{camera}/tampered-realistic"):
                entries += placed.forged(image, masks.get(image.stem))
        return {"test": entries}
