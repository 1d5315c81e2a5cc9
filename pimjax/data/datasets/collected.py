"""Sets collected from the web: IMD2020, In-the-Wild, WildWeb."""

from typing import ClassVar

from pimjax.data.datasets.builder import ManipulationDataset, Splits, UnverifiedPolarity
from pimjax.data.datasets.layout import Entry, Placed, masks_by_stem
from pimjax.data.datasets.polarity import nonzero


class Imd2020(ManipulationDataset):
    """IMD2020, the real-life manipulated images: several manipulations of one photograph in a folder.

    Layout:
        <id>/<id>_orig.jpg                  authentic
        <id>/<name>.jpg or .png             manipulated
        <id>/<name>_mask.png

    Manipulated: mask values above 0. 414 authentic and 2,010 manipulated images. Split: test.
    """

    EXPECTED: ClassVar = {"test": ((414,), (2010,))}
    marks = staticmethod(nonzero)

    def find(self, placed: Placed) -> Splits:
        """Names end in _orig, in _mask, or in neither."""
        images = placed.images(placed.root, "")
        masks = {image.path.with_name(image.stem): image.path for image in images if image.stem.endswith("_mask")}
        entries = []
        for image in images:
            if image.stem.endswith("_orig"):
                entries.append(Entry(*image))
            elif not image.stem.endswith("_mask"):
                entries += placed.forged(image, masks.get(image.path.with_name(f"{image.stem}_mask")))
        return {"test": entries}


class InTheWild(ManipulationDataset):
    """In-the-Wild (Huh et al.): splices from the web, JPEG.

    Layout:
        images/*.jpg            (also label_in_wild/images/…)
        masks/<stem>.png

    Manipulated: mask values above 0. 201 manipulated images, no authentic ones. Split: test.
    """

    EXPECTED: ClassVar = {"test": ((0,), (201,))}
    marks = staticmethod(nonzero)

    def find(self, placed: Placed) -> Splits:
        """A mask has its image's stem."""
        masks = masks_by_stem(placed.need("label_in_wild/masks", "masks"))
        images = placed.images(placed.need("label_in_wild/images", "images"), "images")
        return {"test": [e for image in images for e in placed.forged(image, masks.get(image.stem), "splicing")]}


class Wildweb(UnverifiedPolarity):
    """WildWeb: forgeries as they went through the web, in many versions and formats.

    Layout:
        Image/Au/*              authentic; the folder's name is assumed, by that of Tp
        Image/Tp/<stem>.*       .jpg, .jpe, .bmp and others
        Mask/Tp/<stem>.png

    Manipulated: unverified; the smaller area of the masks is taken for it. 99 authentic and 9,657 manipulated images.
    Split: test. Names that start with a dot count: those without a mask of their own share the mask ".png".
    """

    EXPECTED: ClassVar = {"test": ((99,), (9657,))}

    def find(self, placed: Placed) -> Splits:
        """A mask has its image's stem, which is "" for ".jpg"."""
        masks = masks_by_stem(placed.need("Mask/Tp"), hidden=True)
        entries = placed.authentic(placed.look("Image/Au"), "Image/Au")
        for image in placed.images(placed.need("Image/Tp"), "Image/Tp", hidden=True):
            shared = masks.get("") if image.path.name.startswith(".") else None
            entries += placed.forged(image, masks.get(image.stem, shared))
        return {"test": entries}
