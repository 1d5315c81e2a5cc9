"""Building blocks that know nothing of PIM: execution, normalization, convolutions, pooling and resizing.

All maps are float arrays [B, H, W, C]; what a block computes, it computes in the dtype of the map it is given.
"""

import dataclasses
import inspect
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models.winograd import winograd_convolve

BATCH_NORM_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Execution:
    """Say how a network is computed, not what it computes."""

    dtype: jnp.dtype | None = None  # of maps and matrix products (jnp.bfloat16); None: that of the parameters
    bn_axis: str | None = None  # a mapped axis over which BatchNorm statistics are synchronized
    remat: bool = False  # compute the insides of blocks and decoders again in the backward pass instead of keeping them
    folded: bool = False  # for inference: the variables come from pimjax.weights.fold.fold_batch_norm


def remat(module: type[nn.Module], execution: Execution) -> type[nn.Module]:
    """Wrap a module class so that its insides are computed again in the backward pass, if `execution` asks for it.

    The argument `train` of its `__call__`, wherever it stands, is a Python bool: static, not traced.
    """
    if not execution.remat:
        return module
    return nn.remat(module, static_argnums=(list(inspect.signature(module.__call__).parameters).index("train"),))


def batch_norm(x: jax.Array, train: bool, execution: Execution, name: str) -> jax.Array:
    """Apply BatchNorm with PyTorch's constants: eps 1e-5, running averages updated with weight 0.1. Statistics are
    float32.

    The running variance averages the biased variance (Flax), not the unbiased one (PyTorch): a difference of
    1/(B·H·W) of each increment.
    """
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=BATCH_NORM_EPSILON,
        use_fast_variance=False,  # E[x²] − E[x]² loses digits where the mean is large
        axis_name=execution.bn_axis if train else None,
        dtype=x.dtype,
        name=name,
    )(x)


def layer_norm(x: jax.Array, name: str) -> jax.Array:
    """Apply LayerNorm over channels with PyTorch's eps 1e-5. Statistics are float32."""
    return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, dtype=x.dtype, name=name)(x)


def dense(x: jax.Array, features: int, name: str, use_bias: bool = True) -> jax.Array:
    """Apply a dense layer over channels: [..., C] → [..., features]."""
    return nn.Dense(features, use_bias=use_bias, dtype=x.dtype, name=name)(x)


class Dropout(nn.Module):
    """Drop whole images of a map [B, H, W, C], or whole channels of each, with probability `rate`; scale the rest up.

    What is drawn for an image depends on the key and its number in `sample_ids`, int32 [B] (0 … B − 1 unless
    given), alone: not on the images beside it, so that any device may compute it.
    """

    rate: float
    channels: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, sample_ids: jax.Array | None = None) -> jax.Array:
        if not train or not self.rate:
            return x
        if sample_ids is None:
            sample_ids = jnp.arange(len(x))
        key, shape = self.make_rng("dropout"), (1, 1, x.shape[-1] if self.channels else 1)
        draw = lambda example: jax.random.bernoulli(jax.random.fold_in(key, example), 1 - self.rate, shape)  # noqa: E731
        return jnp.where(jax.vmap(draw)(sample_ids), x / (1 - self.rate), 0)


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1) -> jax.Array:
    """Convolve [B, H, W, C] with [k, k, C, O], k odd, zero-padded evenly: [B, ⌈H/stride⌉, ⌈W/stride⌉, O]."""
    k, _, C, features = kernel.shape
    if k == 1:  # as a matrix product, since XLA's gradient of a 1×1 convolution takes ten times as long on a CPU
        return x[:, ::stride, ::stride] @ kernel[0, 0]
    # Below these widths the transforms cost more than they save, most of all in compiling (0.4 s each).
    if k == 3 and stride == dilation == 1 and x.dtype == jnp.float32 and C * features >= 256 * 256:
        return _convolve_wide(x, kernel)
    return _convolve_directly(x, kernel, stride, dilation)


def _convolve_directly(x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1) -> jax.Array:
    strides, dilations, around = ((n, n) for n in (stride, dilation, dilation * (len(kernel) // 2)))
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, strides, (around, around), rhs_dilation=dilations, dimension_numbers=layout
    )


@jax.checkpoint  # the transformed tiles are four times the map: cheaper made again than kept
def _convolve_wide(x: jax.Array, kernel: jax.Array) -> jax.Array:
    # Accelerators' libraries choose among such algorithms themselves; XLA's CPU backend has only the plain one.
    return jax.lax.platform_dependent(x, kernel, cpu=winograd_convolve, default=_convolve_directly)


class Conv(nn.Module):
    """Convolve one map k×k, or several 3×3, all enlarged to the first one's size and concatenated.

    Maps [B, h_i, w_i, C_i] → [B, h_0, w_0, features]. Enlarging waits until the channels are mixed: same parameters and
    result, a fraction of the work. `stride` and `dilation` are for one map: → [B, ⌈h/stride⌉, ⌈w/stride⌉, features].
    """

    features: int
    kernel: int = 1
    use_bias: bool = False
    stride: int = 1
    dilation: int = 1

    @nn.compact
    def __call__(self, *maps: jax.Array) -> jax.Array:
        B, H, W, C = maps[0].shape
        channels = [x.shape[-1] for x in maps]
        shape = (self.kernel, self.kernel, sum(channels), self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape).astype(maps[0].dtype)
        parts = jnp.split(kernel, np.cumsum(channels)[:-1], axis=2)
        x = convolve(maps[0], parts[0], self.stride, self.dilation)
        for map_, part in zip(maps[1:], parts[1:], strict=True):
            x += convolve_resized(map_, part, H, W)
        if self.use_bias:
            x += self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return x


class ConvBN(nn.Module):
    """Apply `Conv` without bias, then BatchNorm: maps [B, h_i, w_i, C_i] → [B, h_0, w_0, features]."""

    features: int
    kernel: int = 1
    execution: Execution = Execution()
    stride: int = 1
    dilation: int = 1

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], train: bool) -> jax.Array:
        folded = self.execution.folded
        x = Conv(self.features, self.kernel, folded, self.stride, self.dilation, name="conv")(*maps)
        return x if folded else batch_norm(x, train, self.execution, "bn")


class ConvBNReLU(ConvBN):
    """Apply `ConvBN`, then ReLU."""

    def __call__(self, maps: Sequence[jax.Array], train: bool) -> jax.Array:
        return nn.relu(super().__call__(maps, train))


def adaptive_average_pool(x: jax.Array, bins: int) -> jax.Array:
    """Average [B, H, W, C] over bins×bins cells: [B, bins, bins, C].

    Bin i spans floor(i·n/bins) … ceil((i+1)·n/bins), so bins overlap where they do not divide n evenly, and
    there may be more bins than pixels.
    """
    B, H, W, C = x.shape
    rows, columns = (jnp.asarray(_pool_matrix(n, bins), x.dtype) for n in (H, W))
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x)


def _pool_matrix(n: int, bins: int) -> np.ndarray:
    matrix = np.zeros((bins, n), np.float32)
    for i in range(bins):
        start, stop = i * n // bins, -(-(i + 1) * n // bins)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def resize_bilinear(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resize [B, H, W, C] bilinearly, half-pixel centers, no antialiasing."""
    B, H, W, C = x.shape
    return jax.image.resize(x, (B, height, width, C), "bilinear", antialias=False)


def convolve_resized(x: jax.Array, kernel: jax.Array, height: int, width: int) -> jax.Array:
    """Compute convolve(resize_bilinear(x, height, width), kernel), 3×3, with the channels mixed before enlarging.

    Both are linear: each of the nine taps mixes channels at x's size; what is then enlarged, shifted by its tap and
    summed are the results, by one small matrix per axis. [B, h, w, C] and [3, 3, C, O] → [B, height, width, O].
    """
    B, h, w, C = x.shape
    mixed = jnp.einsum("bhwc,yxco->bhwyxo", x, kernel)
    across, down = (jnp.asarray(_shifted_resize_matrices(*n), x.dtype) for n in ((w, width), (h, height)))
    return jnp.einsum("bhWyo,yHh->bHWo", jnp.einsum("bhwyxo,xWw->bhWyo", mixed, across), down)


def _shifted_resize_matrices(n: int, new: int) -> np.ndarray:
    """Return the bilinear resize of n pixels to `new`, seen from the previous, same and next pixel: [3, new, n]."""
    x = np.clip((np.arange(new) + 0.5) * n / new - 0.5, 0, n - 1)
    low = np.floor(x).astype(int)
    resize = np.zeros((new + 2, n), np.float32)
    np.add.at(resize, (np.arange(1, new + 1), low), 1 - (x - low))
    np.add.at(resize, (np.arange(1, new + 1), np.minimum(low + 1, n - 1)), x - low)
    return np.stack([resize[shift : shift + new] for shift in range(3)])
