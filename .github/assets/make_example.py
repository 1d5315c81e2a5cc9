"""Draw example.jpg: forgeries made of photographs that Python packages install, and what pim-small finds.

Command: python .github/assets/make_example.py (extra "demo"). None of the photographs was trained on. Their terms
allow copies: scikit-image's motorcycle, cat and coffee (CC0), NASA's and SpaceX's (public domain), scikit-learn's china
and flower (CC BY).
"""

from pathlib import Path

import cv2
import numpy as np

from pimjax import Localizer
from pimjax.config import ForgeryConfig, MaskConfig, PidaConfig
from pimjax.data.donors import Donors
from pimjax.data.perturb import compress
from pimjax.data.pida import forge
from pimjax.data.registry import installed_source
from pimjax.visualize import contact_sheet, heat, overlay

ROWS = (  # photograph, kind of forgery, seed, what became of it
    (("validation", 1), "splicing", 7, "", "spliced, saved as JPEG 95"),
    (("train", 3), "removal", 1, "", "painted over, saved as JPEG 95"),
    (("validation", 1), "splicing", 7, "small", "the first, scaled to half its size, as uploads are: mostly missed"),
)


def main() -> None:
    """Write the picture beside this file."""
    localizer = Localizer.load()
    sources = {name: installed_source(name) for name in ("train", "validation")}
    columns: dict[str, list[np.ndarray]] = {"photo": [], "truth": [], "heat map": [], "overlay": []}
    captions = []
    for (name, index), kind, seed, way, caption in ROWS:
        example = dict(sources[name][index])
        side = min(example["mask"].shape) // 16 * 16
        for key in ("image", "mask"):
            example[key] = np.ascontiguousarray(example[key][:side, :side])
        example["image"] = compress(example["image"], 70)  # as most photos are: compressed once
        kinds = ForgeryConfig(**{each: float(each == kind) for each in ("pida", "splicing", "copy_move", "removal")})
        masks = MaskConfig(smooth=0, min_area=0.05, max_area=0.12, soft_edge=0)
        forged = forge(
            example, np.random.default_rng(seed), PidaConfig(kinds=kinds, masks=masks), Donors(tuple(sources.values()))
        )
        photo = compress(forged["image"], 95)
        if way == "small":
            photo = compress(cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 85)
        found = localizer(photo)
        size = (250, 250)
        pictures = (
            photo,
            cv2.cvtColor(forged["mask"], cv2.COLOR_GRAY2RGB),
            heat(found.probability),
            overlay(photo, found.probability, 0.5),
        )
        for column, picture in zip(columns.values(), pictures, strict=True):
            column.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        captions.append(f"{caption}: score {found.score:.2f}")
    sheet = contact_sheet(columns, captions, cell=250)
    to = Path(__file__).with_name("example.jpg")
    cv2.imwrite(str(to), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 90))


if __name__ == "__main__":
    main()
