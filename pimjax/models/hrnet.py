"""Parts of HRNet (Wang et al., TPAMI 2021): branches of several resolutions that exchange maps in every module."""

import functools
import operator
from collections.abc import Sequence

import flax.linen as nn
import jax

from pimjax.models.torch_layers import BatchNorm2d, Conv2d, resize

MOMENTUM = 0.01  # of BatchNorm's running averages, in all HRNets here
Maps = list[jax.Array]


class ConvNorm(nn.Module):
    """Convolve without bias and normalize; then ReLU. Parameters: `conv` and `norm`, named within `name`'s parent."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    train: bool = False
    relu: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        k = self.kernel_size
        x = Conv2d(self.features, k, self.stride, k // 2, use_bias=False, name="0")(x)
        x = BatchNorm2d(self.train, momentum=MOMENTUM, name="1")(x)
        return nn.relu(x) if self.relu else x


class BasicBlock(nn.Module):
    """Add 3×3, 3×3 to a map: [B, H, W, C] → [B, H, W, features]; another width is projected."""

    features: int
    train: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm = lambda name: BatchNorm2d(self.train, momentum=MOMENTUM, name=name)  # noqa: E731
        y = nn.relu(norm("bn1")(Conv2d(self.features, 3, padding=1, use_bias=False, name="conv1")(x)))
        y = norm("bn2")(Conv2d(self.features, 3, padding=1, use_bias=False, name="conv2")(y))
        if x.shape[-1] != self.features:
            x = norm("downsample.1")(Conv2d(self.features, use_bias=False, name="downsample.0")(x))
        return nn.relu(x + y)


class HRModule(nn.Module):
    """Run `blocks` basic blocks on each branch, then add to every branch all others at its size: n maps → n maps.

    Branch i has `widths[i]` channels and half the resolution of branch i − 1.
    """

    widths: Sequence[int]
    blocks: int
    align_corners: bool
    train: bool = False

    @nn.compact
    def __call__(self, maps: Maps) -> Maps:
        maps = list(maps)
        for b, width in enumerate(self.widths):
            for k in range(self.blocks):
                maps[b] = BasicBlock(width, self.train, name=f"branches.{b}.{k}")(maps[b])
        return [nn.relu(self._sum(maps, i)) for i in range(len(maps))]

    def _sum(self, maps: Maps, i: int) -> jax.Array:
        parts = []
        for j, x in enumerate(maps):
            if j > i:
                x = ConvNorm(self.widths[i], 1, train=self.train, relu=False, name=f"fuse_layers.{i}.{j}")(x)
                x = resize(x, maps[i].shape[1:3], self.align_corners)
            for k in range(i - j):
                last = k == i - j - 1
                width, name = self.widths[i] if last else self.widths[j], f"fuse_layers.{i}.{j}.{k}"
                x = ConvNorm(width, 3, 2, self.train, relu=not last, name=name)(x)
            parts.append(x)
        return functools.reduce(operator.add, parts)


def new_branch(maps: Maps, width: int, name: str, train: bool) -> Maps:
    """Add a branch of half the last one's resolution, made of it by a convolution of stride 2 called `name`."""
    return [*maps, ConvNorm(width, 3, 2, train, name=f"{name}.0")(maps[-1])]
