"""The local pixel-dependency stream: central and radial difference convolutions (paper, III-C)."""

import functools
import operator

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.layers import Execution, convolve
from pimjax.models.lwm import LearningToWeight

# Where the taps 1..8 of the radial parameter sit on the 5×5 kernel: +w on the outer ring, −w on the inner one.
OUTER = ((0, 0), (0, 2), (0, 4), (2, 0), (2, 4), (4, 0), (4, 2), (4, 4))
INNER = ((1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2), (3, 3))


def central_difference(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Compute Σ_p w(p)·(x(p) − x(center)) over a 3×3 neighborhood, zero-padded: [B, H, W, C] → the same.

    `kernel` is [3, 3, C, C]. Subtracting its spatial sum from the center tap makes it one convolution.
    """
    # Nine slices added up: XLA's reduction over the leading axes takes ten times as long on a CPU.
    total = sum(kernel[i, j] for i in range(3) for j in range(3))
    return convolve(x, kernel.at[1, 1].add(-total))


def radial_difference(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Compute Σ_k w(k)·(x(outer k) − x(inner k)) over eight directions, zero-padded: [B, H, W, C] → the same.

    `kernel` is [3, 3, C, C]; tap k in 1..8 (row-major) weighs direction k, tap 0 is dead, as in the released model. A
    third of the work of the 5×5 convolution that it equals.
    """
    B, H, W, C = x.shape
    around = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    taps = kernel.reshape(9, C, -1)[1:]
    products = (
        (around[:, r : r + H, c : c + W] - around[:, s : s + H, t : t + W]) @ tap
        for tap, (r, c), (s, t) in zip(taps, OUTER, INNER, strict=True)
    )
    return functools.reduce(operator.add, products)


class LocalBlock(nn.Module):
    """Add weighed difference convolutions of x to x [B, H, W, C]: one scale of the local stream.

    `parts`: "both", "central" or "radial".
    """

    parts: str
    fusion: str
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        C = x.shape[-1]
        maps = []
        for part, difference in (("central", central_difference), ("radial", radial_difference)):
            if self.parts in ("both", part):
                kernel = self.param(part, nn.initializers.normal(1.0), (3, 3, C, C))
                maps.append(difference(x, kernel.astype(x.dtype)))
        return LearningToWeight(self.fusion, self.execution, name="weigh")(maps, x, train)
