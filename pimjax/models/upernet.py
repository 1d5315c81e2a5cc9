"""The UPerNet decoder (Xiao et al., ECCV 2018) behind each of PIM's three outputs."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from pimjax.config import ModelConfig
from pimjax.models.layers import Conv, ConvBNReLU, Dropout, Execution, adaptive_average_pool, resize_bilinear


class UPerNetDecoder(nn.Module):
    """Decode four maps [B, h/2^i, w/2^i, C_i] → [B, h, w, outputs], h × w being the first map's size."""

    config: ModelConfig
    outputs: int
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], train: bool, sample_ids: jax.Array | None = None) -> jax.Array:
        def unit(kernel: int, name: str, *maps: jax.Array) -> jax.Array:
            return ConvBNReLU(self.config.decoder_channels, kernel, self.execution, name=name)(maps, train)

        *finer, coarsest = maps
        pooled = [
            unit(1, f"pool{i}", adaptive_average_pool(coarsest, bins)) for i, bins in enumerate(self.config.pool_scales)
        ]
        levels = [unit(3, "bottleneck", coarsest, *pooled)]
        for i, x in reversed(list(enumerate(finer))):
            B, H, W, C = x.shape
            levels.insert(0, unit(1, f"lateral{i}", x) + resize_bilinear(levels[0], H, W))

        last = len(levels) - 1
        levels = [x if i == last else unit(3, f"fpn{i}", x) for i, x in enumerate(levels)]
        x = unit(3, "fpn_bottleneck", *levels)
        x = Dropout(self.config.dropout_rate, channels=True, name="dropout")(x, train, sample_ids)
        return Conv(self.outputs, use_bias=True, name="classifier")(x)
