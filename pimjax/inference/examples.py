"""Pictures to try the page with: forgeries of photographs that Python packages install, and one of them untouched."""

from pathlib import Path

import numpy as np

from pimjax.config import ForgeryConfig, MaskConfig, PidaConfig
from pimjax.data.donors import Donors
from pimjax.data.images import write_png
from pimjax.data.perturb import compress
from pimjax.data.pida import forge
from pimjax.data.registry import installed_source

KINDS = ("splicing", "copy_move", "removal")


def example_photos(folder: Path) -> list[str]:
    """Return PNG files in `folder`; [] where the packages of the extra "demo" are not installed."""
    try:
        sources = (installed_source("validation"), installed_source("train"))
    except ValueError:
        return []
    donors, files = Donors(sources), []
    for number, kind in enumerate((*KINDS, "authentic")):
        rng = np.random.default_rng(number)
        example = dict(sources[0][number % len(sources[0])])
        # As most photos are: compressed once by the camera or the web.
        example["image"] = compress(example["image"], 75)
        if kind != "authentic":
            kinds = ForgeryConfig(**{name: float(name == kind) for name in ("pida", *KINDS)})
            masks = MaskConfig(smooth=0, min_area=0.04, max_area=0.15, soft_edge=0)
            example = forge(example, rng, PidaConfig(after_jpeg=0, kinds=kinds, masks=masks), donors)
        files.append(folder / f"{kind}.png")
        write_png(files[-1], example["image"])
    return [str(file) for file in files]
