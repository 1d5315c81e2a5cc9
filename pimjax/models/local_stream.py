"""The local pixel-dependency stream: central and radial difference convolutions (paper, III-C)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models.lwm import LearningToWeight

# Where the taps 1..8 of the radial parameter sit on the 5×5 kernel: +w on the outer ring, −w on the inner one.
OUTER = ((0, 0), (0, 2), (0, 4), (2, 0), (2, 4), (4, 0), (4, 2), (4, 4))
INNER = ((1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2), (3, 3))


def _convolve(x: jax.Array, kernel: jax.Array, padding: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def central_difference(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Σ_p w(p)·(x(p) − x(centre)) over a 3×3 neighbourhood, zero-padded: [B, H, W, C] → the same.

    `kernel` is [3, 3, C, C]. Subtracting its spatial sum from the centre tap makes it one convolution.
    """
    return _convolve(x, kernel.at[1, 1].add(-kernel.sum((0, 1))), padding=1)


def radial_difference(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Σ_k w(k)·(x(outer k) − x(inner k)) over the eight compass directions: [B, H, W, C] → the same.

    `kernel` is [3, 3, C, C]; tap k in 1..8 (row-major) weighs direction k, tap 0 is dead, as in the released model.
    """
    C, features = kernel.shape[2:]
    spread = np.zeros((25, 9), np.float32)  # which taps, with which sign, make up each of the 25 positions
    for tap, ((r, c), (s, t)) in enumerate(zip(OUTER, INNER, strict=True), start=1):
        spread[5 * r + c, tap], spread[5 * s + t, tap] = 1, -1
    ring = jnp.einsum("pk,kio->pio", spread, kernel.reshape(9, C, features)).reshape(5, 5, C, features)
    return _convolve(x, ring, padding=2)


class LocalBlock(nn.Module):
    """One scale of the local stream: x [B, H, W, C] + weighed difference convolutions of x.

    `parts`: "both", "central" or "radial".
    """

    parts: str
    fusion: str
    bn_axis: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        C = x.shape[-1]
        maps = []
        for part, difference in (("central", central_difference), ("radial", radial_difference)):
            if self.parts in ("both", part):
                maps.append(difference(x, self.param(part, nn.initializers.normal(1.0), (3, 3, C, C))))
        return LearningToWeight(self.fusion, self.bn_axis, name="weigh")(maps, residual=x, train=train)
