"""What JPEG does to pixels before it quantizes: luma and chroma, and the cosine transform of blocks."""

import numpy as np

BLOCK = 8  # pixels a side
YCBCR = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])  # of RGB, as JFIF rounds them
LUMA = YCBCR[0]

_N = np.arange(BLOCK)
# Rows are the basis: DCT[u] @ pixels is the coefficient of frequency u. A mean of 1 is a first coefficient of √8.
DCT = np.cos((2 * _N + 1) * _N[:, None] * np.pi / 16) * np.sqrt(np.where(_N, 2, 1) / BLOCK)[:, None]


def block_dct(plane: np.ndarray) -> np.ndarray:
    """Transform all whole 8×8 blocks of float32 [H, W]: float32 [8, 8, H // 8, W // 8], frequencies first."""
    rows, columns = (n // BLOCK for n in plane.shape)
    blocks = plane[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    basis = DCT.astype(np.float32)
    return np.einsum("ui,aibj,vj->uvab", basis, blocks, basis, optimize=True)
