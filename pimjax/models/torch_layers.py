"""Layers with PyTorch's arithmetic, for the compared networks: maps are [B, H, W, C], names those of the original.

A module's name is the original's, dots included ("layer1.0.conv1"), so that one generic rule finds an array in a
released state dict (`pimjax.weights.names.released`): "kernel" and "scale" are its "weight", kernels lie as Flax lays
them ([kh, kw, in, out], dense [in, out], transposed [kh, kw, in, out]), and any other parameter is as the original's.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models import layers

INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's default: ±1/√fan_in
MANY = 512 * 512  # pairs of positions from which attention is computed head by head on a CPU
Pair = int | tuple[int, int]
WIDE = 512 * 256  # products of channels from which a dilated convolution is computed by phases


def pair(value: Pair) -> tuple[int, int]:
    """Return a number twice, or the two numbers given."""
    return value if isinstance(value, tuple) else (value, value)


class Conv2d(nn.Module):
    """Convolve [B, H, W, C] k×k with zero padding: [B, h, w, features]."""

    features: int
    kernel_size: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    use_bias: bool = True
    kernel_init: Callable = INIT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        k, C = self.kernel_size, x.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (k, k, C // self.groups, self.features)).astype(x.dtype)
        same = k == 3 and self.stride == self.padding == self.dilation == 1
        if k == 1 and not self.padding and self.groups == 1:  # a matrix product: quicker to differentiate on a CPU
            y = x[:, :: self.stride, :: self.stride] @ kernel[0, 0]
        elif same and self.groups == C == self.features:
            y = convolve_depthwise(x, kernel)
        elif same and self.groups == 1:
            y = layers.convolve(x, kernel)  # by Winograd's algorithm where that pays
        elif k == 3 and self.stride == self.groups == 1 and self.padding == self.dilation:
            y = convolve_dilated(x, kernel, self.dilation)
        else:
            y = convolve(x, kernel, self.stride, self.padding, self.dilation, self.groups)
        if self.use_bias:
            y += self.param("bias", bias_init(k * k * C // self.groups), (self.features,)).astype(x.dtype)
        return y


def bias_init(fan_in: int) -> Callable:
    """Return PyTorch's default for biases: uniform ±1/√fan_in."""
    return lambda key, shape: jax.random.uniform(key, shape, jnp.float32, -1, 1) / np.sqrt(fan_in)


def convolve(
    x: jax.Array, kernel: jax.Array, stride: int = 1, padding: Pair = 0, dilation: int = 1, groups: int = 1
) -> jax.Array:
    """Convolve [B, H, W, C] with [kh, kw, C / groups, O], zero-padded by `padding` pixels on every side."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        pair(stride),
        [(n, n) for n in pair(padding)],
        rhs_dilation=pair(dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def convolve_dilated(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    """Convolve [B, H, W, C] with [3, 3, C, O], dilated, zero-padded to keep the size.

    On a CPU as undilated convolutions of every `dilation`-th row and column, which takes half the time.
    """
    B, H, W, C = x.shape
    d, h, w = dilation, -(-H // dilation), -(-W // dilation)

    def by_phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, 0), (0, h * d - H), (0, w * d - W), (0, 0)))
        x = x.reshape(B, h, d, w, d, C).transpose(0, 2, 4, 1, 3, 5).reshape(B * d * d, h, w, C)
        y = layers.convolve(x, kernel).reshape(B, d, d, h, w, -1)
        return y.transpose(0, 3, 1, 4, 2, 5).reshape(B, h * d, w * d, -1)[:, :H, :W]

    def directly(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolve(x, kernel, 1, d, d)

    if C * kernel.shape[-1] < WIDE:  # not worth what it takes to compile
        return directly(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=by_phases, default=directly)


def convolve_depthwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve each channel of [B, H, W, C] with [3, 3, 1, C], zero-padded to keep the size.

    As nine shifted products: XLA's grouped convolution takes several times as long on a CPU.
    """
    H, W = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    products = (padded[:, i : i + H, j : j + W] * kernel[i, j, 0] for i in range(3) for j in range(3))
    return functools.reduce(operator.add, products)


class ConvTranspose2d(nn.Module):
    """Convolve transposed, k×k with a stride: [B, H, W, C] → [B, (H−1)·stride + k − 2·padding, …, features]."""

    features: int
    kernel_size: int
    stride: int
    padding: int = 0
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        k, C = self.kernel_size, x.shape[-1]
        kernel = self.param("transposed_kernel", INIT, (k, k, C, self.features)).astype(x.dtype)
        around = k - 1 - self.padding
        y = jax.lax.conv_general_dilated(
            x,
            kernel[::-1, ::-1],
            (1, 1),
            [(around, around)] * 2,
            lhs_dilation=(self.stride, self.stride),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        if self.use_bias:
            y += self.param("bias", bias_init(k * k * self.features), (self.features,)).astype(x.dtype)
        return y


class Linear(nn.Module):
    """Apply a dense layer over the last axis: [..., C] → [..., features]."""

    features: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = x @ self.param("kernel", INIT, (x.shape[-1], self.features)).astype(x.dtype)
        if self.use_bias:
            y += self.param("bias", bias_init(x.shape[-1]), (self.features,)).astype(x.dtype)
        return y


class BatchNorm2d(nn.Module):
    """Normalize channels of [B, H, W, C] by running statistics, or by the batch's in training.

    As PyTorch, and unlike Flax, the running variance averages the unbiased variance.
    """

    train: bool = False
    eps: float = 1e-5
    momentum: float = 0.1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        C = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (C,))
        bias = self.param("bias", nn.initializers.zeros, (C,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (C,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (C,))
        mean, var = running_mean.value, running_var.value
        if self.train and not self.is_initializing():
            axes, n = tuple(range(x.ndim - 1)), x.size // C
            mean = exact(x).mean(axes)
            var = jnp.square(exact(x) - mean).mean(axes)
            if self.is_mutable_collection("batch_stats"):
                m = self.momentum
                running_mean.value = (1 - m) * running_mean.value + m * mean
                running_var.value = (1 - m) * running_var.value + m * var * (n / max(1, n - 1))
        factor = scale / jnp.sqrt(var + self.eps)
        return ((x - mean) * factor + bias).astype(x.dtype)


class LayerNorm(nn.Module):
    """Normalize over the last axis: [..., C] → the same."""

    eps: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        centered = exact(x) - exact(x).mean(-1, keepdims=True)
        var = jnp.square(centered).mean(-1, keepdims=True)
        return (centered / jnp.sqrt(var + self.eps) * scale + bias).astype(x.dtype)


class GroupNorm(nn.Module):
    """Normalize groups of channels of each image by itself: [B, H, W, C] → the same; of fewer channels, each."""

    groups: int = 32
    eps: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, H, W, C = x.shape
        scale = self.param("scale", nn.initializers.ones, (C,))
        bias = self.param("bias", nn.initializers.zeros, (C,))
        groups = min(self.groups, C)
        parts = exact(x).reshape(B, H, W, groups, C // groups)
        mean = parts.mean((1, 2, 4), keepdims=True)
        var = jnp.square(parts - mean).mean((1, 2, 4), keepdims=True)
        y = ((parts - mean) / jnp.sqrt(var + self.eps)).reshape(x.shape)
        return (y * scale + bias).astype(x.dtype)


class Dropout(nn.Module):
    """Drop single elements, or with `channels` whole channels of an image, with probability `rate` in training."""

    rate: float
    train: bool
    channels: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if not self.train or not self.rate:
            return x
        axes = tuple(range(1, x.ndim - 1)) if self.channels else ()
        return nn.Dropout(self.rate, broadcast_dims=axes, deterministic=False)(x)


class DropPath(nn.Module):
    """Drop a whole branch of an image with probability `rate` in training (stochastic depth); scale the rest up."""

    rate: float
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if not self.train or not self.rate:
            return x
        return nn.Dropout(self.rate, broadcast_dims=tuple(range(1, x.ndim)), deterministic=False)(x)


def record(module: nn.Module, name: str, x: jax.Array) -> None:
    """Keep a map for who calls `apply` with mutable=["features"], as NAME_map; else it costs nothing."""
    if not module.is_initializing():
        module.sow("features", f"{name}_map", x)


def max_pool(x: jax.Array, window: int, stride: int, padding: int = 0) -> jax.Array:
    """Take the maximum over windows; padding never wins, and what fills no window is left out."""
    around: Any = ((padding, padding), (padding, padding))
    return nn.max_pool(x, (window, window), (stride, stride), around)


def lower(x: jax.Array, execution: layers.Execution) -> jax.Array:
    """Return a map in the dtype that a network computes in behind its first layer.

    The first layer sees gray levels, which half precision cannot tell apart.
    """
    return x if execution.dtype is None else x.astype(execution.dtype)


def remat(module: type[nn.Module], execution: layers.Execution) -> type[Any]:
    """Wrap a module class so that its insides are computed again in the backward pass, if `execution` asks for it."""
    return nn.remat(module) if execution.remat else module


def exact(x: jax.Array) -> jax.Array:
    """Return a map in float32 at least: what follows, logits and statistics, is not computed in half precision."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """Apply the softmax over an axis, computed in float32 at least: of the same dtype."""
    return nn.softmax(exact(x), axis).astype(x.dtype)


def attend(q: jax.Array, k: jax.Array, v: jax.Array, heads: int) -> jax.Array:
    """Attend from [B, N, C] to keys and values [B, M, C] in `heads` parts of the channels: [B, N, C].

    On a CPU many positions are taken head by head, and weights are normalized behind their product with the values:
    half the time for a thousand positions.
    """
    B, N, C = q.shape
    M, D = k.shape[1], C // heads

    def at_once(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return softmax((q * D**-0.5) @ k.transpose(0, 2, 1)) @ v

    def head_by_head(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return jax.lax.map(one_head, (q, k, v))

    def one_head(parts: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        q, k, v = parts
        products = exact((q * D**-0.5) @ k.T)
        weights = jnp.exp(products - jax.lax.stop_gradient(products.max(-1, keepdims=True)))
        y = exact(weights.astype(v.dtype) @ v) / weights.sum(-1, keepdims=True)
        return y.astype(v.dtype)

    parts = [x.reshape(B, -1, heads, D).transpose(0, 2, 1, 3).reshape(B * heads, -1, D) for x in (q, k, v)]
    if N * M < MANY:
        y = at_once(*parts)
    else:
        y = jax.lax.platform_dependent(*parts, cpu=head_by_head, default=at_once)
    return y.reshape(B, heads, N, D).transpose(0, 2, 1, 3).reshape(B, N, C)


def gelu(x: jax.Array) -> jax.Array:
    """Apply the exact GELU, by the error function."""
    return jax.nn.gelu(x, approximate=False)


def resize(x: jax.Array, size: Sequence[int], align_corners: bool = False) -> jax.Array:
    """Resize [B, H, W, C] bilinearly to `size` (height, width), without antialiasing.

    With `align_corners` the first and last pixels' centers stay where they are, else the pictures' edges.
    """
    if tuple(size) == x.shape[1:3]:
        return x
    down, across = (
        jnp.asarray(_interpolation(n, m, align_corners), x.dtype) for n, m in zip(x.shape[1:3], size, strict=True)
    )
    return jnp.einsum("ih,bhwc,jw->bijc", down, x, across, precision="highest")


def _interpolation(n: int, m: int, align_corners: bool) -> np.ndarray:
    """Return the matrix [m, n] that interpolates m values between n."""
    if align_corners:
        places = np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0)
    else:
        places = np.maximum((np.arange(m) + 0.5) * (n / m) - 0.5, 0)
    low = np.minimum(np.floor(places).astype(int), n - 1)
    high, share = np.minimum(low + 1, n - 1), places - low
    matrix = np.zeros((m, n))
    np.add.at(matrix, (np.arange(m), low), 1 - share)
    np.add.at(matrix, (np.arange(m), high), share)
    return matrix
