"""JPEG's standard tables of quantization steps: annex K of ITU-T T.81, scaled by libjpeg's rule."""

import numpy as np

LUMA_TABLE = np.fromstring(
    """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99""",
    sep=" ",
)
CHROMA_TABLE = np.full(64, 99.0)
CHROMA_TABLE[[0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 24, 25]] = 17, 18, 24, 47, 18, 21, 26, 66, 24, 26, 56, 47, 66


def scaled(table: np.ndarray, quality: int, flatness: float = 1.0) -> np.ndarray:
    """Return the steps int [64], row by row, 1..255: `table`, flattened by `flatness` below 1, at `quality` 1..100."""
    scale = (5000 // quality if quality < 50 else 200 - 2 * quality) / 100
    flat = table**flatness * table.mean() / (table**flatness).mean()
    return np.clip(np.floor(flat * scale + 0.5), 1, 255).astype(int)
