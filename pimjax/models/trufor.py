"""TruFor (Guillaro et al., CVPR 2023, arXiv 2212.10957): RGB and a noise fingerprint, fused; confidence and score."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.config.networks import TRUFOR_PARTS
from pimjax.models.layers import Execution
from pimjax.models.segformer import Block, Decoder, PatchEmbedding, Stage, stages
from pimjax.models.torch_layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    LayerNorm,
    Linear,
    exact,
    lower,
    record,
    remat,
    resize,
    softmax,
)
from pimjax.normalization import IMAGENET_MEAN, IMAGENET_STD

DEPTHS = (3, 4, 6, 3)


class TruForOutput(NamedTuple):
    """Hold what the network says of B images; class 1 is "manipulated"."""

    anomaly_logits: jax.Array  # [B, H, W, 2]
    confidence_logits: jax.Array  # [B, H, W, 1]
    score_logit: jax.Array  # [B]
    noiseprint: jax.Array  # [B, H, W, 1]
    probability: jax.Array  # [B, H, W]
    confidence: jax.Array  # [B, H, W], of the map
    score: jax.Array  # [B], probability that the image is manipulated


class NoiseprintPlusPlus(nn.Module):
    """Extract the noise fingerprint of images [B, H, W, 3] in 0..1 by 17 convolutions: [B, H, W, 1]."""

    train: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(17):
            inner = 0 < i < 16
            place = 0 if not i else 3 * i - 1
            x = Conv2d(64 if i < 16 else 1, 3, padding=1, use_bias=not inner, name=f"{place}")(x)
            if inner:
                x = BatchNorm2d(self.train, name=f"{place + 1}")(x)
            if i < 16:
                x = nn.relu(x)
        return x


class Rectification(nn.Module):
    """Correct two streams' maps by each other, through gates of channels and of positions: [B, h, w, C] twice."""

    @nn.compact
    def __call__(self, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        C = a.shape[-1]
        both = jnp.concatenate([a, b], -1)
        pooled = jnp.concatenate([both.mean((1, 2)), both.max((1, 2))], -1)
        hidden = nn.relu(Linear(4 * C, name="channel_weights.mlp.0")(pooled))
        gates = nn.sigmoid(Linear(2 * C, name="channel_weights.mlp.2")(hidden))[:, None, None]
        places = nn.relu(Conv2d(C, name="spatial_weights.mlp.0")(both))
        places = nn.sigmoid(Conv2d(2, name="spatial_weights.mlp.2")(places))
        return (
            a + 0.5 * (gates[..., C:] + places[..., 1:]) * b,
            b + 0.5 * (gates[..., :C] + places[..., :1]) * a,
        )


class Crossing(nn.Module):
    """Let each stream's tokens read the other's context: two maps [B, h, w, C] → [B, h, w, 2C]."""

    heads: int

    @nn.compact
    def __call__(self, a: jax.Array, b: jax.Array) -> jax.Array:
        B, h, w, C = a.shape
        n = self.heads
        streams, contexts = [], []
        for number, x in ((1, a), (2, b)):
            y, u = jnp.split(nn.relu(Linear(2 * C, name=f"channel_proj{number}")(x)), 2, -1)
            k, v = jnp.split(Linear(2 * C, use_bias=False, name=f"cross_attn.kv{number}")(u), 2, -1)
            k, v, u = (array.reshape(B, h * w, n, C // n) for array in (k, v, u))
            context = jnp.einsum("bthi,bthj->bhij", k, v) * (C // n) ** -0.5
            contexts.append(softmax(context, 2))
            streams.append((x, y, u))
        out = []
        for number, (x, y, u), context in zip((1, 2), streams, contexts[::-1], strict=True):
            read = jnp.einsum("bthi,bhij->bthj", u, context).reshape(B, h, w, C)
            x = x + Linear(C, name=f"end_proj{number}")(jnp.concatenate([y, read], -1))
            out.append(LayerNorm(1e-5, name=f"norm{number}")(x))
        return jnp.concatenate(out, -1)


class Fusion(nn.Module):
    """Fuse two streams' maps [B, h, w, C] into one."""

    heads: int
    train: bool = False

    @nn.compact
    def __call__(self, a: jax.Array, b: jax.Array) -> jax.Array:
        C = a.shape[-1]
        both = Crossing(self.heads, name="cross")(a, b)
        y = Conv2d(C, name="channel_emb.channel_embed.0")(both)
        y = nn.relu(Conv2d(C, 3, padding=1, groups=C, name="channel_emb.channel_embed.1")(y))
        y = Conv2d(C, name="channel_emb.channel_embed.3")(y)
        y = BatchNorm2d(self.train, name="channel_emb.channel_embed.4")(y)
        residual = Conv2d(C, use_bias=False, name="channel_emb.residual")(both)
        return BatchNorm2d(self.train, name="channel_emb.norm")(residual + y)


class Encoder(nn.Module):
    """Encode normalized RGB and the fingerprint by two MiT-B2 that correct each other: four fused maps."""

    embed_dim: int = 64
    depths: Sequence[int] = DEPTHS
    drop_path_rate: float = 0.1
    train: bool = False
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, rgb: jax.Array, extra: jax.Array) -> list[jax.Array]:
        rates = np.linspace(0, self.drop_path_rate, sum(self.depths)).tolist()
        fused, first = [], 0
        for i, (stage, depth) in enumerate(zip(stages(self.embed_dim), self.depths, strict=True)):
            of_rgb = of_extra = rates[first : first + depth]
            if i == 1:  # the released code's rates of stage 2
                of_rgb, of_extra = [rates[first]] * depth, [rates[first + 1]] * depth
            first += depth
            rgb = self._stage(rgb, "", i, stage, of_rgb)
            extra = self._stage(extra, "extra_", i, stage, of_extra)
            rgb, extra = Rectification(name=f"FRMs.{i}")(rgb, extra)
            fused.append(Fusion(stage.heads, self.train, name=f"FFMs.{i}")(rgb, extra))
            for name, x in (("rgb", rgb), ("extra", extra), ("fused", fused[-1])):
                record(self, f"{name}{i + 1}", x)
        return fused

    def _stage(self, x: jax.Array, prefix: str, i: int, stage: Stage, rates: list[float]) -> jax.Array:
        x = PatchEmbedding(stage.width, stage.kernel, stage.stride, name=f"{prefix}patch_embed{i + 1}")(x)
        x = lower(x, self.execution)
        for j, rate in enumerate(rates):
            x = remat(Block, self.execution)(
                stage.heads, stage.reduction, rate, self.train, name=f"{prefix}block{i + 1}.{j}"
            )(x)
        return LayerNorm(1e-6, name=f"{prefix}norm{i + 1}")(x)


def pooled_statistics(values: jax.Array, log_weights: jax.Array) -> jax.Array:
    """Return soft minimum, soft maximum, mean and mean square of [B, N] under weights, given by logarithms: [B, 4]."""
    weights = nn.log_softmax(log_weights, -1)
    low = -jax.nn.logsumexp(weights - values, -1)
    high = jax.nn.logsumexp(weights + values, -1)
    share = jnp.exp(weights)
    return jnp.stack([low, high, (share * values).sum(-1), (share * values**2).sum(-1)], -1)


class TruFor(nn.Module):
    """Localize manipulation: images [B, H, W, 3], 8-bit RGB over 256, sides from 29 → `TruForOutput`. 68,697,421
    parameters.
    """

    confidence_eps: float = 1e-3  # of the confidence decoder's BatchNorm; 1e-5 in the authors' inference code of 2023
    drop_path_rate: float = 0.1
    dropout_rate: float = 0.1  # of whole channels in the decoders
    score_dropout_rate: float = 0.5
    frozen: tuple[str, ...] = ("dncnn",)  # parts that are not trained, and stay in inference mode
    embed_dim: int = 64  # of the first stage
    depths: Sequence[int] = DEPTHS
    decoder_channels: int = 512
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> TruForOutput:
        learns = {part: train and part not in self.frozen for part in TRUFOR_PARTS}
        fingerprint = NoiseprintPlusPlus(learns["dncnn"], name="dncnn")(images)
        rgb = (images - jnp.asarray(IMAGENET_MEAN, images.dtype)) / jnp.asarray(IMAGENET_STD, images.dtype)
        sizes, rate = (self.embed_dim, self.depths), self.drop_path_rate
        encode = Encoder(*sizes, rate, learns["backbone"], self.execution, name="backbone")
        maps = encode(rgb, jnp.repeat(fingerprint, 3, -1))

        def decode(name: str, outputs: int, eps: float) -> jax.Array:
            width, rate = self.decoder_channels, self.dropout_rate
            low = Decoder(width, outputs, ("0", "1"), True, eps, rate, learns[name], name=name)(maps)
            low = exact(low)
            record(self, name, low)
            return resize(low, images.shape[1:3])

        anomaly = decode("decode_head", 2, 1e-3)
        confidence = decode("decode_head_conf", 1, self.confidence_eps)
        B, trust = len(images), confidence.reshape(len(images), -1)
        odds = (anomaly[..., 1] - anomaly[..., 0]).reshape(B, -1)
        statistics = [
            pooled_statistics(trust, jnp.zeros_like(trust)),
            pooled_statistics(odds, nn.log_sigmoid(trust)),
        ]
        hidden = nn.relu(Linear(128, name="detection.0")(jnp.concatenate(statistics, -1)))
        hidden = Dropout(self.score_dropout_rate, learns["detection"])(hidden)
        score = Linear(1, name="detection.3")(hidden)[:, 0]
        return TruForOutput(
            anomaly,
            confidence,
            score,
            fingerprint,
            nn.softmax(anomaly)[..., 1],
            nn.sigmoid(confidence[..., 0]),
            nn.sigmoid(score),
        )
