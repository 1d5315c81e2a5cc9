"""ViT-B/16 (Dosovitskiy et al., ICLR 2021) as torchvision composes it: classifier, or encoder of a grid of tokens."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.torch_layers import Conv2d, LayerNorm, Linear, attend, gelu, record, resize
from pimjax.models.windows import pad_to_multiple

PATCH, WIDTH, HEADS, GRID = 16, 768, 12, 14


class ViTOutput(NamedTuple):
    """Hold what the network says of B images."""

    tokens: jax.Array  # [B, h, w, 768], behind the last LayerNorm
    class_token: jax.Array  # [B, 768]
    class_logits: jax.Array  # [B, 1000], of ImageNet's classes
    probability: None = None  # of manipulation: these weights know none
    score: None = None


class Block(nn.Module):
    """Apply x + attention(LN(x)), then x + MLP(LN(x)): [B, N, 768] → the same."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, N, C = x.shape
        y = LayerNorm(1e-6, name="ln_1")(x)
        weight = self.param("self_attention.in_proj_weight", nn.initializers.xavier_uniform(), (3 * C, C))
        bias = self.param("self_attention.in_proj_bias", nn.initializers.zeros, (3 * C,))
        q, k, v = jnp.split(y @ weight.T.astype(y.dtype) + bias, 3, -1)
        x += Linear(C, name="self_attention.out_proj")(attend(q, k, v, HEADS))
        y = gelu(Linear(4 * C, name="mlp.0")(LayerNorm(1e-6, name="ln_2")(x)))
        return x + Linear(C, name="mlp.3")(y)


class ViTB16(nn.Module):
    """Encode normalized images [B, H, W, 3] → `ViTOutput`. 86,567,656 parameters.

    The model is one of 224×224 pixels. Other sizes are zero-padded to multiples of 16, and the position embedding is
    resized bilinearly from its 14×14 grid.
    """

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> ViTOutput:
        x = Conv2d(WIDTH, PATCH, PATCH, name="conv_proj")(pad_to_multiple(images, PATCH))
        B, h, w, _ = x.shape
        record(self, "patches", x)
        token = self.param("class_token", nn.initializers.zeros, (1, 1, WIDTH))
        shape = (1, 1 + GRID * GRID, WIDTH)
        position = self.param("encoder.pos_embedding", nn.initializers.normal(0.02), shape).astype(x.dtype)
        grid = resize(position[:, 1:].reshape(1, GRID, GRID, WIDTH), (h, w)).reshape(1, h * w, WIDTH)
        first = jnp.broadcast_to(token.astype(x.dtype) + position[:, :1], (B, 1, WIDTH))
        x = jnp.concatenate([first, x.reshape(B, h * w, WIDTH) + grid], 1)
        for i in range(12):
            x = Block(name=f"encoder.layers.encoder_layer_{i}")(x)
            record(self, f"layer{i}", x)
        x = LayerNorm(1e-6, name="encoder.ln")(x)
        record(self, "tokens", x)
        logits = Linear(1000, name="heads.head")(x[:, 0])
        return ViTOutput(x[:, 1:].reshape(B, h, w, WIDTH), x[:, 0], logits)
