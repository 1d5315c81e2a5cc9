"""The Swin encoder (Liu et al., ICCV 2021), plain or with PIM's raster-scan masked self-attention (paper, III-B)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.config import ModelConfig
from pimjax.models.layers import Dropout, Execution, dense, layer_norm, remat
from pimjax.models.stems import PatchEmbedding, SpectralEmbedding
from pimjax.models.windows import (
    merge_windows,
    pad_to_multiple,
    raster_mask,
    relative_position_index,
    roll_mask,
    roll_regions,
    split_windows,
)


class Projection(nn.Module):
    """Return a dense layer's product and its bias, apart: [..., C] → ([..., features], [features])."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return x @ kernel.astype(x.dtype), bias.astype(x.dtype)


class WindowAttention(nn.Module):
    """Attend inside each window of a map, with several heads and a learned relative-position bias.

    The map is zero-padded to whole windows and rolled up and left by `shift`. Padding and rolling come after the
    projection to queries, keys and values and are undone before the one to the output: padded tokens are the
    projection's bias, and are not multiplied.

    With `masked`, the keys and values of token i are the tokens before it in raster order, and token 0 has none: its
    output is the projection's bias. The query is the token's own.
    """

    num_heads: int
    window_size: int
    masked: bool
    shift: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, H, W, C = x.shape
        h, N, shift = self.num_heads, self.window_size**2, self.shift
        product, bias = Projection(3 * C, name="qkv")(x)
        padded = pad_to_multiple(product, self.window_size)
        _, padded_h, padded_w, _ = padded.shape
        if shift:
            padded = jnp.roll(padded, (-shift, -shift), axis=(1, 2))
        qkv = (split_windows(padded, self.window_size) + bias).reshape(-1, N, 3, h, C // h)
        mask = roll_mask(jnp.asarray(roll_regions(padded_h, padded_w, self.window_size, shift))) if shift else None
        weights = self._weights(qkv[:, :, 0], qkv[:, :, 1], mask)
        out = jnp.einsum("bhnm,bmhd->bnhd", weights.astype(x.dtype), qkv[:, :, 2]).reshape(-1, N, C)
        out = merge_windows(out, self.window_size, padded_h, padded_w)
        if shift:
            out = jnp.roll(out, (shift, shift), axis=(1, 2))
        return dense(out[:, :H, :W], C, "proj")

    def _weights(self, q: jax.Array, k: jax.Array, region_mask: jax.Array | None) -> jax.Array:
        """Return the softmax of the logits, at least float32: [B·windows, N, h, d] twice → [B·windows, h, N, N]."""
        BW, N, h, d = q.shape
        exact = jnp.promote_types(q.dtype, jnp.float32)
        logits = jnp.einsum("bnhd,bmhd->bhnm", q * d**-0.5, k, preferred_element_type=exact)
        table = self.param(
            "relative_position_bias", nn.initializers.truncated_normal(0.02), ((2 * self.window_size - 1) ** 2, h)
        )
        logits += table[relative_position_index(self.window_size)].transpose(2, 0, 1)
        if region_mask is not None:
            logits = logits.reshape(-1, len(region_mask), h, N, N) + region_mask[:, None]
            logits = logits.reshape(BW, h, N, N)
        if not self.masked:
            return nn.softmax(logits)
        # Assigned, not added: a logit of the future must not shine through, whatever its size.
        weights = nn.softmax(jnp.where(raster_mask(self.window_size), logits, -1e4))
        return weights.at[:, :, 0].multiply(0)


class SwinBlock(nn.Module):
    """Apply x + attention(LN(x)), then x + MLP(LN(x)), both under stochastic depth. [B, H, W, C] → the same."""

    num_heads: int
    window_size: int
    shift: int
    mlp_ratio: int
    drop_path: float
    masked: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, sample_ids: jax.Array | None = None) -> jax.Array:
        drop_path = Dropout(self.drop_path, name="drop_path")
        attention = WindowAttention(self.num_heads, self.window_size, self.masked, self.shift, name="attention")
        x = x + drop_path(attention(layer_norm(x, "norm1")), train, sample_ids)
        y = dense(layer_norm(x, "norm2"), self.mlp_ratio * x.shape[-1], "fc1")
        return x + drop_path(dense(nn.gelu(y, approximate=False), x.shape[-1], "fc2"), train, sample_ids)


class PatchMerging(nn.Module):
    """Halve the resolution and double the channels: [B, H, W, C] → [B, ⌈H/2⌉, ⌈W/2⌉, 2C]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = pad_to_multiple(x, 2)
        # The four phases in the order (even row, even column), (odd, even), (even, odd), (odd, odd).
        x = jnp.concatenate([x[:, r::2, c::2] for c in (0, 1) for r in (0, 1)], axis=-1)
        return dense(layer_norm(x, "norm"), x.shape[-1] // 2, "reduction", use_bias=False)


class SwinEncoder(nn.Module):
    """Encode a normalized image [B, H, W, 3]: a map per stage, strides patch · 2^i, channels embed_dim · 2^i.

    `sample_ids`, int32 [B]: the images' numbers in the whole batch, by which stochastic depth is drawn.
    """

    config: ModelConfig
    masked: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool, sample_ids: jax.Array | None = None) -> tuple[jax.Array, ...]:
        c = self.config
        block = remat(SwinBlock, self.execution)
        # The masked encoder has the published stem always: what it predicts is content.
        if c.spectral_stem and not self.masked:
            stem = SpectralEmbedding(c.embed_dim, c.double_compression, name="patch_embed")
        else:
            stem = PatchEmbedding(c.embed_dim, c.patch_size, c.high_pass_init and not self.masked, name="patch_embed")
        x = layer_norm(stem(images), "patch_norm")
        x = x.astype(self.execution.dtype or x.dtype)
        total, index, maps = sum(c.depths), 0, []
        for stage, (depth, heads) in enumerate(zip(c.depths, c.num_heads, strict=True)):
            if stage:
                x = PatchMerging(name=f"merge{stage - 1}")(x)
            for i in range(depth):
                x = block(
                    num_heads=heads,
                    window_size=c.window_size,
                    shift=c.window_size // 2 if i % 2 else 0,
                    mlp_ratio=c.mlp_ratio,
                    drop_path=c.drop_path_rate * index / max(total - 1, 1),
                    masked=self.masked,
                    name=f"stage{stage}_block{i}",
                )(x, train, sample_ids)
                index += 1
            maps.append(layer_norm(x, f"norm{stage}"))
        return tuple(maps)
