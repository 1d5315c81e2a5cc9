"""What became of a photograph before it was forged, and of the picture before it is seen: scaled, compressed.

A forgery is seldom the first thing that happens to a photograph: it was made smaller and compressed, what was pasted
into it has another past, and the result is compressed again. Authentic pictures go through the same. Ranges are
pimjax's own.
"""

import io

import cv2
import numpy as np
from PIL import Image

from pimjax.config import HistoryConfig
from pimjax.data.sources import Example
from pimjax.data.transforms import fit_square

_KERNELS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
# Annex K of ITU-T T.81, row by row: the tables that "quality" scales.
_LUMA = np.fromstring(
    """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99""",
    sep=" ",
)
_CHROMA = np.full(64, 99.0)
_CHROMA[[0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 24, 25]] = 17, 18, 24, 47, 18, 21, 26, 66, 24, 26, 56, 47, 66


def take(example: Example, side: int, rng: np.random.Generator, config: HistoryConfig) -> Example:
    """A random square of the photograph, side×side pixels, with a past drawn from `config`; authentic examples only.

    It is cut, scaled down, and compressed. A photograph smaller than the square is continued by mirroring.
    """
    H, W = example["mask"].shape
    factor = 1.0
    if config.shrink < 1 and rng.random() < 0.8:
        smallest = min(1.0, max(config.shrink, side / min(H, W)))
        factor = float(np.exp(rng.uniform(np.log(smallest), 0)))
    before = max(side, round(side / factor))
    centre = tuple(rng.integers(max(n - before, 0) + 1) + before / 2 for n in (H, W))
    maps = fit_square({key: example[key] for key in ("image", "mask", "segments") if key in example}, before, centre)
    if before > side:
        kernel = int(rng.choice(_KERNELS, p=(0.4, 0.2, 0.2, 0.2)))
        for key, array in maps.items():
            # Labels are beyond what OpenCV scales as integers.
            array = array if key == "image" else array.astype(np.float32)
            scaled = cv2.resize(array, (side, side), interpolation=kernel if key == "image" else cv2.INTER_NEAREST)
            maps[key] = scaled.astype(maps[key].dtype)
    if rng.random() < config.jpeg:
        maps["image"], _ = compress_anyhow(maps["image"], rng, config.lowest, config.aligned)
    return example | {key: np.ascontiguousarray(array) for key, array in maps.items()}


def compress_anyhow(
    image: np.ndarray, rng: np.random.Generator, lowest: int, aligned: float
) -> tuple[np.ndarray, dict[str, float]]:
    """JPEG as any program may write it: quality `lowest`..98, any chroma sampling, standard or flatter tables.

    With probability `aligned` the 8×8 grid starts at the image's corner, else anywhere. Returns the uint8 RGB image
    and what was drawn.
    """
    settings = {
        "quality": int(rng.integers(lowest, 99)),
        "flatness": float(rng.uniform(0.5, 1.0)) if rng.random() < 0.4 else 1.0,
        "chroma": int(rng.choice(3, p=(0.35, 0.1, 0.55))),
    }
    settings["dy"], settings["dx"] = (0, 0) if rng.random() < aligned else rng.integers(0, 8, 2).tolist()
    return jpeg(image, **settings), settings


def jpeg(image: np.ndarray, quality: int, flatness: float, chroma: int, dy: int = 0, dx: int = 0) -> np.ndarray:
    """The uint8 RGB image [H, W, 3] after JPEG, its grid starting (dy, dx) pixels outside the image.

    `quality` 1..100 scales the standard tables; `flatness` below 1 makes steps more alike, at about the same mean, as
    many programs' own tables are. `chroma` is Pillow's: 0, 1, 2 for 4:4:4, 4:2:2, 4:2:0.
    """
    H, W, _ = image.shape
    scale = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    tables = []
    for table in (_LUMA, _CHROMA):
        flat = table**flatness * table.mean() / (table**flatness).mean()
        tables.append(np.clip(np.floor(flat * scale + 0.5), 1, 255).astype(int).tolist())
    padded = cv2.copyMakeBorder(image, dy, 0, dx, 0, cv2.BORDER_REPLICATE) if dy or dx else image
    stream = io.BytesIO()
    Image.fromarray(padded).save(stream, "JPEG", qtables=tables, subsampling=chroma)
    decoded = cv2.imdecode(np.frombuffer(stream.getbuffer(), np.uint8), cv2.IMREAD_COLOR)
    return decoded[dy : dy + H, dx : dx + W, ::-1]
