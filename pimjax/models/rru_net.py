"""RRU-Net, the ringed residual U-Net (Bi, Wei, Xiao and Li, CVPR Workshops 2019, doi 10.1109/CVPRW.2019.00010)."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.layers import Execution
from pimjax.models.torch_layers import Conv2d, ConvTranspose2d, GroupNorm, exact, lower, max_pool, record, remat


class RRUNetOutput(NamedTuple):
    """Hold what the network says of B images."""

    logits: jax.Array  # [B, H, W, 1]
    probability: jax.Array  # [B, H, W] of manipulation
    score: None = None  # the network has none of the image


class Ring(nn.Module):
    """Convolve twice with shared parameters: the second pass sees the input gated by what the first made of it.

    [B, h, w, C] → [B, h, w, features]. "Residual propagation" adds a 1×1 convolution of the input to each pass,
    "residual feedback" is the gate. With a `skip` map [B, H, W, C'], x is first enlarged twofold and joined with it.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, skip: jax.Array | None = None) -> jax.Array:
        features = self.features
        if skip is not None:
            x = GroupNorm(name="up.1")(ConvTranspose2d(x.shape[-1], 2, 2, name="up.0")(x))
            x = x[:, x.shape[1] - skip.shape[1] :, x.shape[2] - skip.shape[2] :]  # an odd side: the first row goes
            x = nn.relu(jnp.concatenate([skip, x], -1))
        first = Conv2d(features, 3, padding=2, dilation=2, name="conv.conv.0")
        first_norm = GroupNorm(name="conv.conv.1")
        second = Conv2d(features, 3, padding=2, dilation=2, name="conv.conv.3")
        second_norm = GroupNorm(name="conv.conv.4")
        side, side_norm = Conv2d(features, use_bias=False, name="res_conv.0"), GroupNorm(name="res_conv.1")
        back = Conv2d(x.shape[-1], use_bias=False, name="res_conv_back.0")

        def once(x: jax.Array) -> jax.Array:
            body = second_norm(second(nn.relu(first_norm(first(x)))))
            return nn.relu(body + side_norm(side(x)))

        feedback = back(once(x))
        record(self, "feedback", feedback)
        return once(x * (1 + nn.sigmoid(feedback)))


class RRUNet(nn.Module):
    """Localize splicing: images [B, H, W, 3] in 0..1, any H and W → `RRUNetOutput`. 4,097,249 parameters.

    Training and inference compute the same: no dropout, no running statistics.
    """

    embed_dim: int = 32  # channels of the first level
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> RRUNetOutput:
        skips, x, ring = [], images, remat(Ring, self.execution)
        for i, features in enumerate((1, 2, 4, 8, 8)):
            x = ring(features * self.embed_dim, name=f"down{i or ''}")(max_pool(x, 3, 2, 1) if i else x)
            record(self, f"down{i or ''}", x)
            x = lower(x, self.execution)
            skips.append(x)
        for i, features in enumerate((4, 2, 1, 1), 1):
            x = ring(features * self.embed_dim, name=f"up{i}")(x, skips[-1 - i])
            record(self, f"up{i}", x)
        logits = exact(Conv2d(1, name="out.conv")(x))
        return RRUNetOutput(logits, nn.sigmoid(logits[..., 0]))
