"""ViT-B/16 (Dosovitskiy et al., ICLR 2021) as torchvision composes it: classifier, or encoder with a plain decoder."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.layers import Execution
from pimjax.models.torch_layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    LayerNorm,
    Linear,
    attend,
    exact,
    gelu,
    lower,
    record,
    remat,
    resize,
)
from pimjax.models.windows import pad_to_multiple

PATCH, GRID = 16, 14


class ViTOutput(NamedTuple):
    """Hold what the network says of B images."""

    tokens: jax.Array  # [B, h, w, 768], behind the last LayerNorm
    class_token: jax.Array  # [B, 768]
    class_logits: jax.Array | None  # [B, 1000], of ImageNet's classes; None with a decoder
    probability: jax.Array | None = None  # [B, H, W], of the decoder; the released weights know no manipulation
    score: None = None
    logits: jax.Array | None = None  # [B, H, W, 2]; class 1 is "manipulated"


class Block(nn.Module):
    """Apply x + attention(LN(x)), then x + MLP(LN(x)): [B, N, 768] → the same."""

    heads: int = 12

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, N, C = x.shape
        y = LayerNorm(1e-6, name="ln_1")(x)
        weight = self.param("self_attention.in_proj_weight", nn.initializers.xavier_uniform(), (3 * C, C))
        bias = self.param("self_attention.in_proj_bias", nn.initializers.zeros, (3 * C,))
        q, k, v = jnp.split(y @ weight.T.astype(y.dtype) + bias.astype(y.dtype), 3, -1)
        x += Linear(C, name="self_attention.out_proj")(attend(q, k, v, self.heads))
        y = gelu(Linear(4 * C, name="mlp.0")(LayerNorm(1e-6, name="ln_2")(x)))
        return x + Linear(C, name="mlp.3")(y)


class ViTB16(nn.Module):
    """Encode normalized images [B, H, W, 3] → `ViTOutput`. 86,567,656 parameters.

    The model is one of 224×224 pixels. Other sizes are zero-padded to multiples of 16, and the position embedding is
    resized bilinearly from its 14×14 grid. With `decoder_channels` a decoder takes the classifier's place: 1×1
    convolution, BatchNorm, ReLU, dropout, 1×1 convolution, enlarged ("SETR-Naïve", Zheng et al., CVPR 2021).
    """

    embed_dim: int = 768
    depths: Sequence[int] = (12,)
    num_heads: int = 12
    decoder_channels: int = 0  # 0: no decoder
    dropout_rate: float = 0.1  # of whole channels in the decoder
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> ViTOutput:
        x = Conv2d(self.embed_dim, PATCH, PATCH, name="conv_proj")(pad_to_multiple(images, PATCH))
        B, h, w, width = x.shape
        record(self, "patches", x)
        x = lower(x, self.execution)
        token = self.param("class_token", nn.initializers.zeros, (1, 1, width))
        shape = (1, 1 + GRID * GRID, width)
        position = self.param("encoder.pos_embedding", nn.initializers.normal(0.02), shape).astype(x.dtype)
        grid = resize(position[:, 1:].reshape(1, GRID, GRID, width), (h, w)).reshape(1, h * w, width)
        first = jnp.broadcast_to(token.astype(x.dtype) + position[:, :1], (B, 1, width))
        x = jnp.concatenate([first, x.reshape(B, h * w, width) + grid], 1)
        for i in range(self.depths[0]):
            x = remat(Block, self.execution)(self.num_heads, name=f"encoder.layers.encoder_layer_{i}")(x)
            record(self, f"layer{i}", x)
        x = LayerNorm(1e-6, name="encoder.ln")(x)
        record(self, "tokens", x)
        tokens, class_token = x[:, 1:].reshape(B, h, w, width), x[:, 0]
        if not self.decoder_channels:
            return ViTOutput(tokens, class_token, Linear(1000, name="heads.head")(class_token))
        x = Conv2d(self.decoder_channels, use_bias=False, name="decoder.0")(tokens)
        x = Dropout(self.dropout_rate, train, channels=True)(nn.relu(BatchNorm2d(train, name="decoder.1")(x)))
        logits = resize(exact(Conv2d(2, name="decoder.4")(x)), (PATCH * h, PATCH * w))
        logits = logits[:, : images.shape[1], : images.shape[2]]
        return ViTOutput(tokens, class_token, None, nn.softmax(logits)[..., 1], None, logits)
