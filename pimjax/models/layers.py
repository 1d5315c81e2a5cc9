"""Building blocks that know nothing of PIM: normalisation, convolution units, pooling and resizing.

All maps are float arrays [B, H, W, C].
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def batch_norm(train: bool, axis_name: str | None = None, name: str | None = None) -> nn.BatchNorm:
    """BatchNorm with PyTorch's constants: eps 1e-5, running averages updated with weight 0.1.

    `axis_name` synchronises the statistics over that mapped axis. The running variance averages the biased
    variance (Flax), not the unbiased one (PyTorch): a difference of 1/(B·H·W) of each increment.
    """
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        use_fast_variance=False,  # E[x²] − E[x]² loses digits where the mean is large
        axis_name=axis_name if train else None,
        name=name,
    )


def layer_norm(name: str | None = None) -> nn.LayerNorm:
    """LayerNorm over channels with PyTorch's eps 1e-5."""
    return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of [B, H, W, C] by [k, k, C, O], k odd, zero-padded to keep the size: [B, H, W, O]."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


class ConvBNReLU(nn.Module):
    """k×k convolution without bias, BatchNorm, ReLU: [B, H, W, C] → [B, H, W, features]."""

    features: int
    kernel: int = 1
    bn_axis: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.Conv(self.features, (self.kernel, self.kernel), padding="SAME", use_bias=False, name="conv")(x)
        return nn.relu(batch_norm(train, self.bn_axis, name="bn")(x))


def adaptive_average_pool(x: jax.Array, bins: int) -> jax.Array:
    """Averages [B, H, W, C] over bins×bins cells → [B, bins, bins, C].

    Bin i spans floor(i·n/bins) … ceil((i+1)·n/bins), so bins overlap where they do not divide n evenly, and
    there may be more bins than pixels.
    """
    B, H, W, C = x.shape
    return jnp.einsum("ih,jw,bhwc->bijc", _pool_matrix(H, bins), _pool_matrix(W, bins), x)


def _pool_matrix(n: int, bins: int) -> np.ndarray:
    matrix = np.zeros((bins, n), np.float32)
    for i in range(bins):
        start, stop = i * n // bins, -(-(i + 1) * n // bins)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def resize_bilinear(x: jax.Array, height: int, width: int) -> jax.Array:
    """Bilinear resize of [B, H, W, C], half-pixel centres, no antialiasing."""
    B, H, W, C = x.shape
    return jax.image.resize(x, (B, height, width, C), "bilinear", antialias=False)


def convolve_resized(x: jax.Array, kernel: jax.Array, height: int, width: int) -> jax.Array:
    """convolve(resize_bilinear(x, height, width), kernel) for a 3×3 kernel, with the channels mixed before enlarging.

    Both are linear: each of the nine taps mixes channels at x's size; what is then enlarged, shifted by its tap and
    summed are the results, by one small matrix per axis. [B, h, w, C] and [3, 3, C, O] → [B, height, width, O].
    """
    B, h, w, C = x.shape
    mixed = jnp.einsum("bhwc,yxco->bhwyxo", x, kernel)
    rows = jnp.einsum("bhwyxo,xWw->bhWyo", mixed, _shifted_resize_matrices(w, width))
    return jnp.einsum("bhWyo,yHh->bHWo", rows, _shifted_resize_matrices(h, height))


def _shifted_resize_matrices(n: int, new: int) -> np.ndarray:
    """Bilinear resize of n pixels to `new`, seen from the previous, same and next pixel, 0 outside: [3, new, n]."""
    x = np.clip((np.arange(new) + 0.5) * n / new - 0.5, 0, n - 1)
    low = np.floor(x).astype(int)
    resize = np.zeros((new + 2, n), np.float32)
    np.add.at(resize, (np.arange(1, new + 1), low), 1 - (x - low))
    np.add.at(resize, (np.arange(1, new + 1), np.minimum(low + 1, n - 1)), x - low)
    return np.stack([resize[shift : shift + new] for shift in range(3)])
