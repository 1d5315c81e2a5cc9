"""HP-FCN, the high-pass fully convolutional network for deep inpainting (Li and Huang, ICCV 2019)."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models.layers import Execution
from pimjax.models.tf_layers import BatchNorm, Conv, ConvNorm, enlarge
from pimjax.models.torch_layers import exact, lower, record, remat

SLIM = ("weights", "biases")
HE = nn.initializers.variance_scaling(1.3 * 2 * 0.8796256610342398**2, "fan_in", "truncated_normal")
# Taps of the derivatives along one direction, and where they begin from the center.
DERIVATIVES = {
    "first": ((-1, 1), 0),
    "second": ((1, -2, 1), -1),
    "third": ((-1, 3, -3, 1), -1),
    "fourth": ((1, -4, 6, -4, 1), -2),
}
MEAN = (123.68, 116.78, 103.94)  # taken off, over 255, where there are no filters


class HPFCNOutput(NamedTuple):
    """Hold what the network says of B images; class 1 is "inpainted"."""

    logits: jax.Array  # [B, H, W, 2]
    probability: jax.Array  # [B, H, W]
    score: None = None  # the network has none of the image


def derivative_filters(order: str) -> np.ndarray:
    """Return three filters [3, k, k, 3, 1]: a derivative downward, to the right and along the diagonal, per color."""
    taps, first = DERIVATIVES[order]
    side = 3 if order in ("first", "second") else 5
    filters = np.zeros((3, side, side, 3, 1), np.float32)
    for n, tap in enumerate(taps):
        for direction, (dy, dx) in enumerate(((1, 0), (0, 1), (1, 1))):
            filters[direction, side // 2 + dy * (first + n), side // 2 + dx * (first + n)] = tap
    return filters


def bilinear_start(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return the first value of a transposed kernel [8, 8, out, in]: bilinear, from every channel to every other."""
    k = 1 - np.abs(np.arange(8) - 3.5) / 4
    return jnp.broadcast_to(jnp.asarray(np.outer(k, k)[:, :, None, None], jnp.float32), shape)


def _norm(train: bool, name: str) -> BatchNorm:
    return BatchNorm(train, 1e-5, 0.997, name=name)


class Bottleneck(nn.Module):
    """Add a bottleneck behind BatchNorm and ReLU: [B, H, W, C] → [B, ⌈H/stride⌉, ⌈W/stride⌉, 4·width]."""

    width: int
    stride: int
    train: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        depth, s = 4 * self.width, self.stride
        norm = functools.partial(_norm, self.train)

        def whole(features: int, stride: int, name: str) -> Conv:
            return Conv(features, stride=stride, names=SLIM, kernel_init=HE, name=name)

        p = nn.relu(norm("preact")(x))
        y = nn.relu(ConvNorm(self.width, 1, norm, kernel_init=HE, name="conv1")(p))
        y = nn.relu(ConvNorm(self.width, 3, norm, s, HE, name="conv2")(y))
        x = x[:, ::s, ::s] if x.shape[-1] == depth else whole(depth, s, "shortcut")(p)
        return x + whole(depth, 1, "conv3")(y)


class Unit(nn.Module):
    """Hold a bottleneck under its name."""

    width: int
    stride: int
    train: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return Bottleneck(self.width, self.stride, self.train, name="bottleneck_v2")(x)


class Block(nn.Module):
    """Apply two bottlenecks, the second of stride 2: [B, H, W, C] → [B, ⌈H/2⌉, ⌈W/2⌉, 4·width]."""

    width: int
    train: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        unit = remat(Unit, self.execution)
        x = unit(self.width, 1, self.train, name="unit_1")(x)
        return unit(self.width, 2, self.train, name="unit_2")(x)


class SmallResNet(nn.Module):
    """Encode residuals [B, H, W, 9] by four blocks: their maps, each half the size of the one before."""

    width: int
    train: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        maps = []
        for i in range(4):
            x = Block(self.width * 2**i, self.train, self.execution, name=f"block{i + 1}")(x)
            maps.append(x)
        _norm(self.train, "postnorm")(x)  # in every checkpoint, its averages updated, its output unused
        return maps


class HPFCN(nn.Module):
    """Localize inpainting: images [B, H, W, 3] in 0..1, any H and W → `HPFCNOutput`. 7,701,077 parameters.

    `filters` names the derivative that the learned filters start from: "first", "second", "third", "fourth", "random"
    (3×3), or "none" for no filters.
    """

    filters: str = "first"
    embed_dim: int = 32  # width of the first block's bottlenecks; it doubles with each
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> HPFCNOutput:
        H, W = images.shape[1:3]
        x = lower(self._residuals(images), self.execution)
        record(self, "residuals", x)
        maps = SmallResNet(self.embed_dim, train, self.execution, name="resnet_small")(x)
        for i, x in enumerate(maps, 1):
            record(self, f"block{i}", x)
        wide = self.param("bilinear_kernel0", bilinear_start, (8, 8, 64, x.shape[-1]))
        x = enlarge(x, wide, 4, maps[1].shape[1:3])
        record(self, "upsample1", x)
        x = enlarge(x, self.param("bilinear_kernel1", bilinear_start, (8, 8, 4, 64)), 4, (H, W))
        record(self, "upsample2", x)
        x = nn.relu(_norm(train, "post_norm")(x))
        record(self, "post_norm", x)
        logits = exact(Conv(2, 5, padding=2, names=SLIM, kernel_init=HE, name="logits")(x))
        return HPFCNOutput(logits, nn.softmax(logits)[..., 1])

    def _residuals(self, images: jax.Array) -> jax.Array:
        """Return the filtered images [B, H, W, 9], filter by filter, each of the three colors."""
        if self.filters == "none":
            return images - jnp.asarray(MEAN, images.dtype) / 255
        maps = []
        for i in range(3):
            if self.filters == "random":
                kernel = self.param(f"root_filter{i}", nn.initializers.xavier_uniform(), (3, 3, 3, 1))
            else:
                first = derivative_filters(self.filters)[i]
                kernel = self.param(f"root_filter{i}", lambda _, value=first: jnp.asarray(value))
            kernel, n = kernel.astype(images.dtype).transpose(0, 1, 3, 2), len(kernel) // 2
            maps.append(
                jax.lax.conv_general_dilated(
                    images,
                    kernel,
                    (1, 1),
                    ((n, n), (n, n)),
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                    feature_group_count=3,
                )
            )
        return jnp.concatenate(maps, -1)
