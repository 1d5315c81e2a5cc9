"""U-Net (Ronneberger, Fischer and Brox, MICCAI 2015), with zero-padded convolutions and BatchNorm as is usual now."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.config import UNetConfig
from pimjax.models.layers import Conv, ConvBNReLU, Dropout, Execution, remat
from pimjax.models.segmenter import Segmenter


class Level(nn.Module):
    """Apply `depth` 3×3 convolutions, each with BatchNorm and ReLU: [B, H, W, C] → [B, H, W, features]."""

    features: int
    depth: int
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for i in range(self.depth):
            x = ConvBNReLU(self.features, 3, self.execution, name=f"unit{i}")([x], train)
        return x


class UpConv(nn.Module):
    """Convolve transposed, 2×2 with stride 2, as one matrix product: [B, H, W, C] → [B, 2H, 2W, features]."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, H, W, C = x.shape
        # Every output sees one input pixel through one tap: the fan-in is C.
        init = nn.initializers.lecun_normal(batch_axis=(0, 1))
        kernel = self.param("kernel", init, (2, 2, C, self.features)).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return jnp.einsum("bhwc,yxco->bhywxo", x, kernel).reshape(B, 2 * H, 2 * W, -1) + bias


class UNet(Segmenter):
    """Run a contracting path, an expanding path with skip connections, a classifier. Call and output: `Segmenter`.

    Level i has embed_dim · 2^i channels at stride 2^i. The logits of single pixels are averaged over cells of 4×4: of a
    linear classifier, these are the logits of the averaged map.
    """

    config: UNetConfig

    @property
    def multiple(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Return four pixels for a cell of the output, or what halving to the coarsest level takes."""
        return max(4, 2 ** (len(self.config.depths) - 1))

    @nn.compact
    def logits(self, images: jax.Array, train: bool, sample_ids: jax.Array | None) -> jax.Array:
        c, execution = self.config, self.execution
        level = remat(Level, execution)
        with jax.default_matmul_precision("highest"):  # half of it cannot tell a gray level from the next
            x = ConvBNReLU(c.embed_dim, 3, execution, name="stem")([images], train)
        x = x.astype(execution.dtype or x.dtype)
        skips = []
        for i, depth in enumerate(c.depths):
            if i:
                skips.append(x)
                x = nn.max_pool(x, (2, 2), (2, 2))
            # The stem is the finest level's first convolution.
            x = level(c.embed_dim * 2**i, depth - (i == 0), execution, name=f"down{i}")(x, train)
        x = Dropout(c.dropout_rate, channels=True, name="dropout")(x, train, sample_ids)
        for i, skip in reversed(list(enumerate(skips))):
            x = jnp.concatenate([skip, UpConv(skip.shape[-1], name=f"enlarge{i}")(x)], axis=-1)
            x = level(skip.shape[-1], c.depths[i], execution, name=f"up{i}")(x, train)
        return Conv(2, use_bias=True, name="classifier")(nn.avg_pool(x, (4, 4), (4, 4)))
