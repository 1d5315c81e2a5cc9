"""The learning-to-weight module: two maps of one scale are weighed against each other and fused (paper, III-D)."""

import functools
import operator
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.layers import Conv, Execution, batch_norm, dense


class Gate(nn.Module):
    """Scale each of two maps by one scalar per image in [0.5, 1): sigmoid(ReLU(Dense(mean(concat))))."""

    @nn.compact
    def __call__(self, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        pooled = jnp.concatenate([a.mean((1, 2)), b.mean((1, 2))], axis=-1)
        g = nn.sigmoid(nn.relu(dense(pooled, 2, "fc")))[:, None, None]
        return a * g[..., :1], b * g[..., 1:]


class Depthwise(nn.Module):
    """Convolve each channel 3×3, zero-padded, without bias: [B, H, W, C] → the same.

    Written as nine shifted products: the gradient of XLA's grouped convolution takes ten times as long on a CPU.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, H, W, C = x.shape
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, 1, C)).astype(x.dtype)
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        products = (padded[:, i : i + H, j : j + W] * kernel[i, j] for i in range(3) for j in range(3))
        return functools.reduce(operator.add, products)


class LearningToWeight(nn.Module):
    """Fuse one or two maps [B, H, W, C] and add the result to `residual` [B, H, W, C].

    "lwm": gate, concatenate, BatchNorm(2C), depthwise 3×3, pointwise 2C → C, BatchNorm(C). "concatenation" has no
    gate; "addition" sums the maps instead. A single map has nothing to be weighed against and passes no gate.
    """

    fusion: str
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], residual: jax.Array, train: bool) -> jax.Array:
        if len(maps) == 2 and self.fusion == "lwm":
            maps = Gate(name="gate")(*maps)
        y = functools.reduce(operator.add, maps) if self.fusion == "addition" else jnp.concatenate(maps, axis=-1)
        y = batch_norm(y, train, self.execution, "norm_in")
        y = Depthwise(name="depthwise")(y)
        folded = self.execution.folded
        y = Conv(residual.shape[-1], use_bias=folded, name="pointwise")(y)
        return residual + (y if folded else batch_norm(y, train, self.execution, "norm_out"))
