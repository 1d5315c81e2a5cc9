"""EVP, explicit visual prompting (Liu, Shen, Pun and Cun, CVPR 2023, arXiv 2303.10883), for manipulation.

A SegFormer-B4 stays frozen; before each of its blocks a prompt is added to the tokens, made from the stage's patch
embedding and the image's high frequencies.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models.layers import Execution
from pimjax.models.segformer import Block, Decoder, PatchEmbedding, Stage, stages
from pimjax.models.torch_layers import Conv2d, LayerNorm, Linear, exact, gelu, lower, record, remat, resize

DEPTHS = (3, 8, 27, 3)


class EVPOutput(NamedTuple):
    """Hold what the network says of B images."""

    logits_stride4: jax.Array  # [B, ⌈H/4⌉, ⌈W/4⌉, 1]
    logits: jax.Array  # [B, H, W, 1]
    probability: jax.Array  # [B, H, W] of manipulation
    score: None = None  # the network has none of the image


def high_frequency(images: jax.Array, share: float = 0.25) -> jax.Array:
    """Return the magnitude of what is left of images [B, H, W, C] without the square of lowest frequencies.

    The square has `share` of the spectrum's area; it reaches one frequency further below zero than above.
    """
    H, W = images.shape[1:3]
    half = math.floor(math.sqrt(share * H * W) / 2)
    low = [np.isin(np.fft.fftfreq(n, 1 / n).round(), np.arange(-half, half)) for n in (H, W)]
    kept = ~np.outer(*low)[None, :, :, None]
    spectrum = jnp.fft.fft2(images.astype(jnp.promote_types(images.dtype, jnp.float32)), axes=(1, 2)) * kept
    return jnp.abs(jnp.fft.ifft2(spectrum, axes=(1, 2)).real).astype(images.dtype)


class Prompts(nn.Module):
    """Make the prompts: of the image's high frequencies once, then of each stage's embedding for each of its blocks."""

    stages: Sequence[Stage]
    depths: Sequence[int]
    execution: Execution = Execution()

    def setup(self) -> None:
        self.handcrafted = [
            PatchEmbedding(stage.width // 4, stage.kernel, stage.stride, name=f"handcrafted_generator{i}")
            for i, stage in enumerate(self.stages, 1)
        ]
        self.embeddings = [Linear(s.width // 4, name=f"embedding_generator{i}") for i, s in enumerate(self.stages, 1)]
        self.lightweight = [
            [Linear(s.width // 4, name=f"lightweight_mlp{i}_{j}.0") for j in range(self.depths[i - 1])]
            for i, s in enumerate(self.stages, 1)
        ]
        self.shared = [Linear(s.width, name=f"shared_mlp{i}") for i, s in enumerate(self.stages, 1)]

    def features(self, images: jax.Array) -> list[jax.Array]:
        """Embed the high frequencies of images [B, H, W, 3] at the four stages."""
        x, maps = high_frequency(images), []
        record(self, "high_frequency", x)
        for i, embed in enumerate(self.handcrafted, 1):
            x = lower(embed(x), self.execution)
            record(self, f"handcrafted{i}", x)
            maps.append(x)
        return maps

    def embedding(self, stage: int, tokens: jax.Array) -> jax.Array:
        """Mix a stage's patch embedding for its prompts."""
        return self.embeddings[stage](tokens)

    def prompt(self, stage: int, block: int, features: jax.Array) -> jax.Array:
        """Return what is added to the tokens before a block."""
        return self.shared[stage](gelu(self.lightweight[stage][block](features)))


class Encoder(nn.Module):
    """Encode normalized images by MiT-B4 with prompts: four maps."""

    embed_dim: int = 64
    depths: Sequence[int] = DEPTHS
    drop_path_rate: float = 0.1
    train: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array) -> list[jax.Array]:
        mit, block = stages(self.embed_dim), remat(Block, self.execution)
        prompts = Prompts(mit, self.depths, self.execution, name="prompt_generator")
        features, x, maps = prompts.features(images), images, []
        rates = iter(np.linspace(0, self.drop_path_rate, sum(self.depths)).tolist())
        for i, (stage, depth) in enumerate(zip(mit, self.depths, strict=True)):
            x = PatchEmbedding(stage.width, stage.kernel, stage.stride, name=f"patch_embed{i + 1}")(x)
            record(self, f"patch_embed{i + 1}", x)
            x = lower(x, self.execution)
            mixed = features[i] + prompts.embedding(i, x)
            for j in range(depth):
                x = x + prompts.prompt(i, j, mixed)
                if i == j == 0:
                    record(self, "prompted_block1_0", x)
                x = block(stage.heads, stage.reduction, next(rates), self.train, name=f"block{i + 1}.{j}")(x)
                if i == j == 0:
                    record(self, "after_block1_0", x)
            x = LayerNorm(1e-6, name=f"norm{i + 1}")(x)
            record(self, f"stage{i + 1}", x)
            maps.append(x)
        return maps


class EVP(nn.Module):
    """Localize manipulation: normalized images [B, H, W, 3], sides from 29 → `EVPOutput`. 64,544,402 parameters.

    3,701,714 of them are trained (`prompt_generator` and `decode_head`); the public checkpoint was trained at 256×256.
    """

    drop_path_rate: float = 0.1
    dropout_rate: float = 0.1  # of whole channels in the decoder
    embed_dim: int = 64  # of the first stage
    depths: Sequence[int] = DEPTHS
    decoder_channels: int = 768
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> EVPOutput:
        encode = Encoder(self.embed_dim, self.depths, self.drop_path_rate, train, self.execution, name="backbone")
        maps = encode(images)
        width, rate = self.decoder_channels, self.dropout_rate
        low = Decoder(width, 1, ("conv", "bn"), False, dropout_rate=rate, train=train, name="decode_head")(maps)
        low = exact(low)
        if self.is_initializing():  # in every checkpoint, and never used
            Conv2d(1, name="decode_head.conv_seg")(jnp.zeros((1, 1, 1, 128)))
        logits = resize(low, images.shape[1:3])
        return EVPOutput(low, logits, nn.sigmoid(logits[..., 0]))
