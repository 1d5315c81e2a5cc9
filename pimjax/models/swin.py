"""The Swin encoder (Liu et al., ICCV 2021), plain or with PIM's raster-scan masked self-attention (paper, III-B)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.config import ModelConfig
from pimjax.models.layers import layer_norm
from pimjax.models.windows import (
    merge_windows,
    pad_to_multiple,
    raster_mask,
    relative_position_index,
    roll_mask,
    split_windows,
)

PATCH = 4


def high_pass_init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Random patch filters [4, 4, 3, C] without their constant and linear parts: they see residuals, not content.

    pimjax's own, for training from scratch, in the spirit of the constrained convolutions of Bayar and Stamm (IH&MMSec
    2016): behind ordinary random filters, the brightness of a patch drowns its noise, and learning starts late.
    """
    y, x = np.mgrid[:PATCH, :PATCH].reshape(2, -1) - (PATCH - 1) / 2
    plane, _ = np.linalg.qr(np.stack([np.ones_like(x), y, x], axis=1))
    residual = np.eye(PATCH * PATCH) - plane @ plane.T
    filters = nn.initializers.lecun_normal()(key, shape, dtype).reshape(PATCH * PATCH, -1)
    # Residuals of a photo are some thirty times weaker than its normalised content.
    return 30 * (jnp.asarray(residual, dtype) @ filters).reshape(shape)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside each window, with a learned relative-position bias.

    With `masked`, the keys and values of token i are the tokens before it in raster order, and token 0 has none: its
    output is the projection's bias. The query is the token's own.
    """

    num_heads: int
    window: int
    masked: bool

    @nn.compact
    def __call__(self, x: jax.Array, region_mask: jax.Array | None = None) -> jax.Array:
        """[B·windows, N, C] → the same; `region_mask`, added to the logits, is [windows, N, N]."""
        BW, N, C = x.shape
        h, d = self.num_heads, C // self.num_heads
        qkv = nn.Dense(3 * C, name="qkv")(x).reshape(BW, N, 3, h, d)
        q, k, v = jnp.moveaxis(qkv, 2, 0)
        logits = jnp.einsum("bnhd,bmhd->bhnm", q * d**-0.5, k)

        table = self.param(
            "relative_position_bias", nn.initializers.truncated_normal(0.02), ((2 * self.window - 1) ** 2, h)
        )
        logits += table[relative_position_index(self.window)].transpose(2, 0, 1)
        if region_mask is not None:
            windows = region_mask.shape[0]
            logits = logits.reshape(BW // windows, windows, h, N, N) + region_mask[:, None]
            logits = logits.reshape(BW, h, N, N)
        if self.masked:
            # Assigned, not added: a logit of the future must not shine through, whatever its size.
            logits = jnp.where(raster_mask(self.window), logits, -1e4)
        weights = nn.softmax(logits)
        if self.masked:
            weights = weights.at[:, :, 0].multiply(0)
        out = jnp.einsum("bhnm,bmhd->bnhd", weights, v).reshape(BW, N, C)
        return nn.Dense(C, name="proj")(out)


class SwinBlock(nn.Module):
    """x + attention(LN(x)), then x + MLP(LN(x)), both branches under stochastic depth. [B, H, W, C] → the same."""

    num_heads: int
    window: int
    shift: int
    mlp_ratio: int
    drop_path: float
    masked: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        drop_path = nn.Dropout(self.drop_path, broadcast_dims=(1, 2, 3), deterministic=not train)
        x = x + drop_path(self._attend(layer_norm("norm1")(x)))
        y = nn.Dense(self.mlp_ratio * x.shape[-1], name="fc1")(layer_norm("norm2")(x))
        return x + drop_path(nn.Dense(x.shape[-1], name="fc2")(nn.gelu(y, approximate=False)))

    def _attend(self, x: jax.Array) -> jax.Array:
        B, H, W, C = x.shape
        x = pad_to_multiple(x, self.window)
        _, padded_h, padded_w, _ = x.shape
        mask = None
        if self.shift:
            x = jnp.roll(x, (-self.shift, -self.shift), axis=(1, 2))
            mask = roll_mask(padded_h, padded_w, self.window, self.shift)
        attention = WindowAttention(self.num_heads, self.window, self.masked, name="attention")
        x = merge_windows(attention(split_windows(x, self.window), mask), self.window, padded_h, padded_w)
        if self.shift:
            x = jnp.roll(x, (self.shift, self.shift), axis=(1, 2))
        return x[:, :H, :W]


class PatchMerging(nn.Module):
    """Halves the resolution and doubles the channels: [B, H, W, C] → [B, ⌈H/2⌉, ⌈W/2⌉, 2C]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = pad_to_multiple(x, 2)
        # The four phases in the order (even row, even column), (odd, even), (even, odd), (odd, odd).
        x = jnp.concatenate([x[:, r::2, c::2] for c in (0, 1) for r in (0, 1)], axis=-1)
        return nn.Dense(x.shape[-1] // 2, use_bias=False, name="reduction")(layer_norm("norm")(x))


class SwinEncoder(nn.Module):
    """Normalised image [B, H, W, 3] → four maps, strides 4, 8, 16, 32 and channels embed_dim · 1, 2, 4, 8."""

    config: ModelConfig
    masked: bool = False
    high_pass_init: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, ...]:
        c = self.config
        x = nn.Conv(
            c.embed_dim,
            (PATCH, PATCH),
            strides=PATCH,
            padding="VALID",
            kernel_init=high_pass_init if self.high_pass_init else nn.initializers.lecun_normal(),
            # Beside a bias as large as they are, the LayerNorm that follows leaves the residuals their strength.
            bias_init=nn.initializers.normal(1.0) if self.high_pass_init else nn.initializers.zeros,
            name="patch_embed",
        )(pad_to_multiple(images, PATCH))
        x = layer_norm("patch_norm")(x)
        total, index, maps = sum(c.depths), 0, []
        for stage, (depth, heads) in enumerate(zip(c.depths, c.num_heads, strict=True)):
            if stage:
                x = PatchMerging(name=f"merge{stage - 1}")(x)
            for block in range(depth):
                x = SwinBlock(
                    num_heads=heads,
                    window=c.window,
                    shift=c.window // 2 if block % 2 else 0,
                    mlp_ratio=c.mlp_ratio,
                    drop_path=c.drop_path * index / max(total - 1, 1),
                    masked=self.masked,
                    name=f"stage{stage}_block{block}",
                )(x, train)
                index += 1
            maps.append(layer_norm(f"norm{stage}")(x))
        return tuple(maps)
