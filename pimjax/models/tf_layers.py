"""Layers with Keras' and TensorFlow's arithmetic, for the compared networks that come from there: maps [B, H, W, C].

Modules and parameters have the original's names and layouts, so that a released name is the variable's path joined by
"/" (`pimjax.weights.names.released`): "kernel" and "bias" in Keras, "weights" and "biases" in TensorFlow's slim.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models import layers
from pimjax.models.torch_layers import convolve, exact

GLOROT = nn.initializers.glorot_uniform()


class Conv(nn.Module):
    """Convolve [B, H, W, C] k×k, zero-padded by `padding` or, if symmetric, 3×3 and mirrored by a pixel."""

    features: int
    kernel_size: int = 1
    stride: int = 1
    padding: int = 0
    symmetric: bool = False
    use_bias: bool = True
    names: tuple[str, str] = ("kernel", "bias")
    kernel_init: Callable = GLOROT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        k = self.kernel_size
        kernel = self.param(self.names[0], self.kernel_init, (k, k, x.shape[-1], self.features)).astype(x.dtype)
        if self.symmetric:  # the zeros that `layers.convolve` adds to the mirrored map reach only what is cut off
            y = layers.convolve(mirrored(x, 1), kernel)[:, 1:-1, 1:-1]
        else:
            y = convolve(x, kernel, self.stride, self.padding)
        if self.use_bias:
            y += self.param(self.names[1], nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return y


def mirrored(x: jax.Array, n: int) -> jax.Array:
    """Continue [B, H, W, C] by n pixels on every side, mirrored with the border pixel repeated."""
    return jnp.pad(x, ((0, 0), (n, n), (n, n), (0, 0)), "symmetric")


class BatchNorm(nn.Module):
    """Normalize channels of [B, H, W, C] by running statistics, or by the batch's.

    The batch's are used in training, and always if `of_batch`. The running variance averages the unbiased one, as the
    fused kernel has it.
    """

    train: bool = False
    eps: float = 1e-3
    decay: float = 0.99  # of the running averages
    scale: bool = True
    center: bool = True
    of_batch: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        C, n = x.shape[-1], x.size // x.shape[-1]
        running_mean = self.variable("batch_stats", "moving_mean", jnp.zeros, (C,))
        running_var = self.variable("batch_stats", "moving_variance", jnp.ones, (C,))
        mean, var = running_mean.value, running_var.value
        if (self.train or self.of_batch) and not self.is_initializing():
            mean = exact(x).mean((0, 1, 2))
            var = jnp.square(exact(x) - mean).mean((0, 1, 2))
            if self.train and self.is_mutable_collection("batch_stats"):
                d = self.decay
                running_mean.value = d * running_mean.value + (1 - d) * mean
                running_var.value = d * running_var.value + (1 - d) * var * (n / max(1, n - 1))
        y = (x - mean) / jnp.sqrt(var + self.eps)
        if self.scale:
            y *= self.param("gamma", nn.initializers.ones, (C,))
        if self.center:
            y += self.param("beta", nn.initializers.zeros, (C,))
        return y.astype(x.dtype)


class ConvNorm(nn.Module):
    """Convolve without bias, then normalize: parameters "weights", and "BatchNorm" below them, as slim has it."""

    features: int
    kernel_size: int
    norm: Callable[[str], BatchNorm]  # of the name
    stride: int = 1
    kernel_init: Callable = GLOROT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        k = self.kernel_size
        kernel = self.param("weights", self.kernel_init, (k, k, x.shape[-1], self.features)).astype(x.dtype)
        return self.norm("BatchNorm")(convolve(x, kernel, self.stride, k // 2))


def enlarge(x: jax.Array, kernel: jax.Array, stride: int, size: Sequence[int]) -> jax.Array:
    """Convolve [B, h, w, C] transposed with [k, k, O, C] to [B, *size, O], cropped as TensorFlow's "SAME"."""
    k, around = len(kernel), []
    for n, m in zip(x.shape[1:3], size, strict=True):
        low = k - 1 - max((n - 1) * stride + k - m, 0) // 2
        around.append((low, m - (n - 1) * stride - 1 - low + k - 1))
    return jax.lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1].transpose(0, 1, 3, 2).astype(x.dtype),
        (1, 1),
        around,
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def unit_columns(kernel: jax.Array, eps: float = 1e-7) -> jax.Array:
    """Scale a kernel [kh, kw, in, out] so that each output's weights have norm 1."""
    return kernel / (eps + jnp.sqrt(jnp.square(kernel).sum((0, 1, 2), keepdims=True)))
