"""MVSS-Net (Chen et al., ICCV 2021, arXiv 2104.06832), and what is public of MVSS-Net++ (Dong et al., TPAMI 2022)."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models.layers import Execution
from pimjax.models.resnet50 import DEPTHS, STRIDE_16, ResNet50
from pimjax.models.torch_layers import BatchNorm2d, Conv2d, Dropout, convolve, exact, record, resize, softmax

SOBEL = {"x": ((1, 0, -1), (2, 0, -2), (1, 0, -1)), "y": ((1, 2, 1), (0, 0, 0), (-1, -2, -1))}
GRAY = (0.1140, 0.5870, 0.2989)  # of the channels in the order in which they come: the release feeds BGR


class MVSSNetOutput(NamedTuple):
    """Hold what the network says of B images."""

    edge: jax.Array | None  # logits [B, ⌈H/4⌉, ⌈W/4⌉, 1]
    mask_logits: jax.Array  # [B, H, W, 1]
    image_score: jax.Array  # [B], probability that the image is manipulated
    probability: jax.Array  # [B, H, W] of manipulation
    score: jax.Array  # [B], the same as `image_score`


class EdgeBlock(nn.Module):
    """Reduce a map to one channel, an edge residual block: [B, h, w, C] → [B, h, w, 1]."""

    train: bool = False
    relu: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv2d(1, name="conv1")(x)
        y = nn.relu(BatchNorm2d(self.train, name="bn")(Conv2d(1, 3, padding=1, name="conv2")(x)))
        x = x + Conv2d(1, 3, padding=1, name="conv3")(y)
        return nn.relu(x) if self.relu else x


def sobel(x: jax.Array, axis: str) -> jax.Array:
    """Return the Sobel gradient along "x" or "y", summed over channels: [B, h, w, C] → [B, h, w, 1]."""
    kernel = jnp.asarray(SOBEL[axis], x.dtype)[:, :, None, None]
    return convolve(x.sum(-1, keepdims=True), kernel, padding=1)


def safe_norm(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return √(x² + y²), with gradient 0 where both are 0."""
    square = x * x + y * y
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def normalized_bayar(kernel: jax.Array) -> jax.Array:
    """Return Bayar's filters with taps that sum to 1 around −1: [1, 3, 24] → [5, 5, 1, 3].

    The gradient is that of the divided taps: the release writes these into its parameter before every step.
    """
    kernel = kernel + jax.lax.stop_gradient(kernel / kernel.sum(-1, keepdims=True) - kernel)
    center = jnp.full((*kernel.shape[:2], 1), -1, kernel.dtype)
    taps = jnp.concatenate([kernel[..., :12], center, kernel[..., 12:]], -1)
    return jnp.transpose(taps.reshape(*kernel.shape[:2], 5, 5), (2, 3, 0, 1))


class DualAttention(nn.Module):
    """Attend over positions and over channels, and classify: [B, h, w, C] → [B, h, w, 1] (Fu et al., CVPR 2019)."""

    dropout_rate: float = 0.1
    train: bool = False
    aux: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = x.shape[-1] // 4

        def convolved(x: jax.Array, name: str) -> jax.Array:
            x = Conv2d(inner, 3, padding=1, use_bias=False, name=f"{name}.0")(x)
            return nn.relu(BatchNorm2d(self.train, name=f"{name}.1")(x))

        places = PositionAttention(name="pam")(convolved(x, "conv_p1"))
        record(self, "pam", places)
        places = convolved(places, "conv_p2")
        channels = ChannelAttention(name="cam")(convolved(x, "conv_c1"))
        record(self, "cam", channels)
        channels = convolved(channels, "conv_c2")
        for name, map_ in (("conv_p2", places), ("conv_c2", channels)):
            record(self, name, map_)
        y = Dropout(self.dropout_rate, self.train)(places + channels)
        return exact(Conv2d(1, name="out.1")(y))


class PositionAttention(nn.Module):
    """Add to every position what all positions hold, weighed by likeness: [B, h, w, C] → the same."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, h, w, C = x.shape
        q, k, v = (
            Conv2d(n, name=f"conv_{name}")(x).reshape(B, h * w, n)
            for name, n in (("b", C // 8), ("c", C // 8), ("d", C))
        )
        weights = softmax(jnp.einsum("bic,bjc->bij", q, k))
        alpha = self.param("alpha", nn.initializers.zeros, (1,)).astype(x.dtype)
        return alpha * jnp.einsum("bij,bjc->bic", weights, v).reshape(x.shape) + x


class ChannelAttention(nn.Module):
    """Add to every channel all channels, the least alike weighing most: [B, h, w, C] → the same."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, h, w, C = x.shape
        flat = x.reshape(B, h * w, C)
        likeness = jnp.einsum("bnc,bnd->bcd", flat, flat)
        weights = softmax(likeness.max(-1, keepdims=True) - likeness)
        beta = self.param("beta", nn.initializers.zeros, (1,)).astype(x.dtype)
        return beta * jnp.einsum("bcd,bnd->bnc", weights, flat).reshape(x.shape) + x


class MVSSNet(nn.Module):
    """Localize manipulation: normalized images [B, H, W, 3] in BGR → `MVSSNetOutput`.

    142,713,215 parameters; the release's 146,880,335 count two classifiers that nothing calls and the Sobel filters.
    Its preprocessing resizes to 512×512 and applies ImageNet's RGB constants to BGR channels. H and W modulo 16 must be
    13, 14, 15 or 0.
    """

    image_head: str = "max"  # or "gem", "convgem": those of MVSS-Net++
    noise_branch: bool = True
    edge_branch: bool = True
    dropout_rate: float = 0.1  # of single elements
    gray: tuple[float, float, float] = GRAY  # weights of the channels; a port feeds RGB with the same
    gem_power: float = 10.0  # p of GeM
    embed_dim: int = 64  # of both trunks' stems
    depths: Sequence[int] = DEPTHS
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, gem_share: float = 1.0) -> MVSSNetOutput:

        def trunk(name: str) -> ResNet50:
            return ResNet50(STRIDE_16, train, self.embed_dim, self.depths, self.execution, name=name)

        maps = trunk("model")(images)
        for i, x in enumerate(maps, 1):
            record(self, f"c{i}", x)
        edge = self._edges(maps, train) if self.edge_branch else None
        x = maps[-1]
        if self.noise_branch:
            gray = (images * jnp.asarray(self.gray, images.dtype)).sum(-1, keepdims=True)
            kernel = self.param("constrain_conv.kernel", nn.initializers.uniform(1.0), (1, 3, 24)).astype(images.dtype)
            filtered = convolve(gray, normalized_bayar(kernel), padding=2)
            record(self, "bayar", filtered)
            noise = trunk("noise_extractor.model")(filtered)[-1]
            record(self, "noise_c4", noise)
            x = jnp.concatenate([x, noise], -1)
        low = DualAttention(self.dropout_rate, train, name="head")(x)
        record(self, "head_out", low)
        logits = resize(low, images.shape[1:3], True)
        probability = nn.sigmoid(logits[..., 0])
        score = self._image_score(nn.sigmoid(logits), gem_share, train)
        return MVSSNetOutput(edge, logits, score, probability, score)

    def _edges(self, maps: list[jax.Array], train: bool) -> jax.Array:
        """Gather edges from fine maps to coarse ones, each gated by its own Sobel gradient."""
        size, edge = maps[0].shape[1:3], jnp.zeros(())
        for i, x in enumerate(maps, 1):
            gradients = [BatchNorm2d(train, name=f"sobel_{axis}{i}.1")(sobel(x, axis)) for axis in "xy"]
            for axis, gradient in zip("xy", gradients, strict=True):
                record(self, f"g{axis}{i}", gradient)
            gated = nn.sigmoid(safe_norm(*gradients)) * x
            block = EdgeBlock(train, name=f"erb_db_{i}")(gated)
            record(self, f"erb_db_{i}", block)
            if i == 1:
                edge = block
                continue
            scale = min(2 ** (i - 1), 4)
            block = resize(block, [n * scale for n in block.shape[1:3]], True)
            if block.shape[1:3] != size:
                H, W = (n * 4 for n in size)
                raise ValueError(f"images of about {H}×{W} pixels: sides modulo 16 must be 13, 14, 15 or 0")
            edge = EdgeBlock(train, relu=i < 4, name=f"erb_trans_{i - 1}")(edge + block)
            record(self, f"erb_trans_{i - 1}", edge)
        return exact(edge)

    def _image_score(self, probability: jax.Array, share: float, train: bool) -> jax.Array:
        """Reduce the map [B, H, W, 1] to a score [B]; `share` is λ, what plain GeM counts for beside its block."""
        if self.image_head == "max":
            return probability.max((1, 2, 3))

        def gem(x: jax.Array) -> jax.Array:
            p = self.gem_power
            return (jnp.maximum(x, 1e-6) ** p).mean((1, 2, 3)) ** (1 / p)

        if self.image_head == "gem":
            return gem(probability)
        if self.image_head != "convgem":
            raise ValueError(f"image_head {self.image_head!r}: it must be one of 'max', 'gem', 'convgem'")
        y = nn.relu(Conv2d(32, 3, padding=1, name="convgem.conv1")(probability))
        y = nn.sigmoid(Conv2d(1, name="convgem.conv2")(BatchNorm2d(train, name="convgem.bn")(y)))
        return share * gem(probability) + (1 - share) * gem(y)


def fixed_filters(embed_dim: int = 64) -> dict[str, np.ndarray]:
    """Return the Sobel filters as the release's state dict holds them: [1, C, 3, 3] for every map and axis."""
    return {
        f"sobel_{axis}{i}.0.weight": np.broadcast_to(np.array(rows, np.float32), (1, C, 3, 3)).copy()
        for axis, rows in SOBEL.items()
        for i, C in enumerate((4 * embed_dim * 2**i for i in range(4)), 1)
    }
