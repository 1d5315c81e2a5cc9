"""BSDS500, the Berkeley Segmentation Dataset: photographs with human segmentations, for a source csv:FILE."""

from pathlib import Path

import cv2
import numpy as np

from pimjax.data.datasets.layout import misplaced
from pimjax.data.datasets.manifests import add_file, write_manifest
from pimjax.data.images import read_bytes, read_header
from pimjax.terminal import say

SPLITS = ("train", "val", "test")
# Photographs of which CASIA v1, a test set, holds a copy.
IN_CASIA_V1 = frozenset({"105053", "118020", "103070", "175032", "227092", "103078", "17067"})
LAYOUT = """BSDS500: 500 photographs, 481×321 JPEG, each segmented by several people (Arbeláez et al., TPAMI 2011).

From www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping (BSR_bsds500.tgz), for research; cite the paper.

Layout:
    BSR/BSDS500/data/images/{train,val,test}/<n>.jpg            (also BSDS500/data/…, or data/…)
    BSR/BSDS500/data/groundTruth/{train,val,test}/<n>.mat

The first person's segmentation becomes a label map. Seven photographs that CASIA v1 holds too are left out."""
LARGEST = 1 << 26  # bytes of a .mat file; those of the dataset have 100,000 at most


def prepare_bsds500(folder: Path, to: Path) -> Path:
    """Write the photographs and their label maps below `to`, and return the manifest image,segments,split.

    Raises:
        FileNotFoundError: the files are not placed as distributed.
        ValueError: one of them is damaged.
        OSError: a file cannot be written, or (ForeignFileError) another is in the way.
    """
    data = _find(folder)
    rows = []
    for split in SPLITS:
        for image in sorted((data / "images" / split).glob("*.jpg")):
            if image.stem in IN_CASIA_V1 or image.name.startswith("."):
                continue
            encoded = read_bytes(image)
            header = read_header(encoded, str(image))
            labels = _labels(data / "groundTruth" / split / f"{image.stem}.mat", (header.height, header.width))
            png = cv2.imencode(".png", labels)[1].tobytes()
            rows.append(
                {
                    "image": add_file(to, f"bsds500/images/{image.name}", encoded),
                    "segments": add_file(to, f"bsds500/segments/{image.stem}.png", png),
                    "split": split,
                }
            )
    if not rows:
        raise misplaced(f"{data / 'images'}: holds no photographs. Place the files so:", LAYOUT)
    say(f"bsds500: {len(rows)} photographs; the whole dataset has 493 without the 7 that CASIA v1 holds too")
    return write_manifest(to / "bsds500.csv", rows)


def _find(folder: Path) -> Path:
    for inside in ("BSR/BSDS500/data", "BSDS500/data", "data", "."):
        if all((folder / inside / kind).is_dir() for kind in ("images", "groundTruth")):
            return folder / inside
    raise misplaced(f"{folder}: not BSDS500 as it is distributed. Place the files so:", LAYOUT)


def _labels(file: Path, size: tuple[int, int]) -> np.ndarray:
    """Return the first segmentation of a MATLAB file, uint8 or uint16 [H, W]; ValueError if there is none."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise ValueError("BSDS500's segmentations are MATLAB files; to read them: pip install scipy") from None
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file, the segmentation of the photograph of that name; add it")
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError("too large")
        labels = np.asarray(loadmat(file)["groundTruth"][0, 0]["Segmentation"][0, 0])
        if labels.shape != size or labels.dtype.kind not in "ui" or not 0 <= labels.min() <= labels.max() < 65536:
            raise ValueError(f"values {labels.dtype} {labels.shape} for a photograph of {size[1]}×{size[0]}")
    except Exception as error:  # whatever a damaged file does to a reader
        what = " ".join(str(error).split())[:100]
        raise ValueError(f"{file}: damaged, or no segmentation of BSDS500 ({what}); unpack it again") from None
    return labels.astype(np.uint8 if labels.max() < 256 else np.uint16)
