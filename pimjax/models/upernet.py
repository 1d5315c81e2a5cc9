"""The UPerNet decoder (Xiao et al., ECCV 2018) behind each of PIM's three outputs."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.config import ModelConfig
from pimjax.models.layers import ConvBNReLU, adaptive_average_pool, resize_bilinear


class UPerNetDecoder(nn.Module):
    """Four maps [B, h/2^i, w/2^i, C_i] → [B, h, w, outputs], h × w being the first map's size."""

    config: ModelConfig
    outputs: int
    bn_axis: str | None = None

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], train: bool) -> jax.Array:
        def unit(kernel: int, name: str):
            return ConvBNReLU(self.config.decoder_channels, kernel, self.bn_axis, name=name)

        *finer, coarsest = maps
        B, H, W, C = coarsest.shape
        pooled = [
            resize_bilinear(unit(1, f"pool{i}")(adaptive_average_pool(coarsest, bins), train), H, W)
            for i, bins in enumerate(self.config.pool_bins)
        ]
        levels = [unit(3, "bottleneck")(jnp.concatenate([coarsest, *pooled], axis=-1), train)]
        for i, x in reversed(list(enumerate(finer))):
            B, H, W, C = x.shape
            levels.insert(0, unit(1, f"lateral{i}")(x, train) + resize_bilinear(levels[0], H, W))

        last = len(levels) - 1
        levels = [x if i == last else unit(3, f"fpn{i}")(x, train) for i, x in enumerate(levels)]
        B, H, W, C = levels[0].shape
        x = jnp.concatenate([resize_bilinear(x, H, W) for x in levels], axis=-1)
        x = unit(3, "fpn_bottleneck")(x, train)
        x = nn.Dropout(self.config.decoder_dropout, broadcast_dims=(1, 2), deterministic=not train)(x)
        return nn.Conv(self.outputs, (1, 1), name="classifier")(x)
