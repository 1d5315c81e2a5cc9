"""The Mix Transformer encoder of SegFormer (Xie et al., NeurIPS 2021) and its all-MLP decoder."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.torch_layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    DropPath,
    LayerNorm,
    Linear,
    attend,
    gelu,
    record,
    resize,
)


class Stage(NamedTuple):
    """Describe one of the four stages."""

    width: int
    heads: int
    reduction: int  # of the side of keys' and values' map
    kernel: int  # of the patch embedding
    stride: int


def stages(embed_dim: int = 64) -> tuple[Stage, ...]:
    """Return the four stages of MiT-B1 to B5, or of another width of the first."""
    rows = ((1, 8, 7, 4), (2, 4, 3, 2), (5, 2, 3, 2), (8, 1, 3, 2))
    return tuple(Stage(embed_dim * heads, heads, *rest) for heads, *rest in rows)


SMALLEST = 29  # pixels a side: stage 1 must have 8 rows for its reduction


class PatchEmbedding(nn.Module):
    """Embed overlapping patches: [B, H, W, C] → [B, ⌈H/stride⌉, ⌈W/stride⌉, width]."""

    width: int
    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv2d(self.width, self.kernel, self.stride, self.kernel // 2, name="proj")(x)
        return LayerNorm(1e-5, name="norm")(x)


class Attention(nn.Module):
    """Attend to all positions, keys and values from a smaller map: [B, h, w, C] → the same."""

    heads: int
    reduction: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, h, w, C = x.shape
        r = self.reduction
        q = Linear(C, name="q")(x)
        if r > 1:
            x = x[:, : h // r * r, : w // r * r]  # what fills no patch does not count
            x = LayerNorm(1e-5, name="norm")(Conv2d(C, r, r, name="sr")(x))
        kv = Linear(2 * C, name="kv")(x).reshape(B, -1, 2 * C)
        y = attend(q.reshape(B, h * w, C), kv[..., :C], kv[..., C:], self.heads)
        return Linear(C, name="proj")(y.reshape(B, h, w, C))


class Block(nn.Module):
    """Apply x + attention(LN(x)), then x + MLP(LN(x)), both under stochastic depth: [B, h, w, C] → the same."""

    heads: int
    reduction: int
    drop_path_rate: float = 0.0
    train: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        C = x.shape[-1]
        drop = lambda y: DropPath(self.drop_path_rate, self.train)(y)  # noqa: E731
        x = x + drop(Attention(self.heads, self.reduction, name="attn")(LayerNorm(1e-6, name="norm1")(x)))
        y = Linear(4 * C, name="mlp.fc1")(LayerNorm(1e-6, name="norm2")(x))
        y = Conv2d(4 * C, 3, padding=1, groups=4 * C, name="mlp.dwconv.dwconv")(y)
        return x + drop(Linear(C, name="mlp.fc2")(gelu(y)))


class Decoder(nn.Module):
    """Decode four maps of any sizes to [B, h, w, outputs], the first map's size.

    Channels are mixed at each scale, enlarged, joined in the order 4, 3, 2, 1, fused, and classified.
    """

    width: int
    outputs: int
    fuse: tuple[str, str]  # names of the fusing convolution, without bias in EVP, and its BatchNorm
    fuse_bias: bool
    eps: float = 1e-5  # of that BatchNorm
    dropout_rate: float = 0.1  # of whole channels
    train: bool = False

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array]) -> jax.Array:
        size = maps[0].shape[1:3]
        mixed = [resize(Linear(self.width, name=f"linear_c{i}.proj")(x), size) for i, x in enumerate(maps, 1)]
        conv, norm = (f"linear_fuse.{name}" for name in self.fuse)
        x = Conv2d(self.width, use_bias=self.fuse_bias, name=conv)(jnp.concatenate(mixed[::-1], -1))
        x = nn.relu(BatchNorm2d(self.train, self.eps, name=norm)(x))
        record(self, "fused", x)
        x = Dropout(self.dropout_rate, self.train, channels=True)(x)
        return Conv2d(self.outputs, name="linear_pred")(x)
