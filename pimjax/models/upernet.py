"""The UPerNet decoder (Xiao et al., ECCV 2018) behind each of PIM's three outputs."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.config import ModelConfig
from pimjax.models.layers import (
    ConvBNReLU,
    adaptive_average_pool,
    batch_norm,
    convolve,
    convolve_resized,
    resize_bilinear,
)


class _Kernel(nn.Module):
    """A convolution's kernel without the convolution."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self) -> jax.Array:
        return self.param("kernel", nn.initializers.lecun_normal(), self.shape)


class ResizedConvBNReLU(nn.Module):
    """The 3×3 `ConvBNReLU` of all maps enlarged to the first one's size and concatenated, without enlarging them.

    Maps [B, h/2^i, w/2^i, C] → [B, h, w, features]. Same parameters, a third of the work.
    """

    features: int
    bn_axis: str | None = None

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], train: bool) -> jax.Array:
        B, H, W, C = maps[0].shape
        kernels = jnp.split(_Kernel((3, 3, len(maps) * C, self.features), name="conv")(), len(maps), axis=2)
        x = convolve(maps[0], kernels[0])
        for map_, kernel in zip(maps[1:], kernels[1:], strict=True):
            x += convolve_resized(map_, kernel, H, W)
        return nn.relu(batch_norm(train, self.bn_axis, name="bn")(x))


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
        x = ResizedConvBNReLU(self.config.decoder_channels, self.bn_axis, name="fpn_bottleneck")(levels, train)
        x = nn.Dropout(self.config.decoder_dropout, broadcast_dims=(1, 2), deterministic=not train)(x)
        return nn.Conv(self.outputs, (1, 1), name="classifier")(x)
