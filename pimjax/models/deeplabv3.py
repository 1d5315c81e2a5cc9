"""DeepLabv3 (Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017; arXiv 1706.05587)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.config import DeepLabV3Config
from pimjax.models.layers import Conv, ConvBNReLU, Dropout, adaptive_average_pool
from pimjax.models.resnet import ResNet
from pimjax.models.segmenter import Segmenter

RATES = (12, 24, 36)  # of the dilated convolutions, at stride 8


class DeepLabV3(Segmenter):
    """Run a ResNet; atrous spatial pyramid pooling; 3×3 convolution; a classifier. Call and output: `Segmenter`.

    The pyramid: a 1×1 convolution, three dilated 3×3 ones, and the whole map's mean, side by side, then mixed by a 1×1
    convolution and dropout of whole channels (torchvision's composition). Logits have stride 8.
    """

    config: DeepLabV3Config
    multiple = 8

    @nn.compact
    def logits(self, images: jax.Array, train: bool, sample_ids: jax.Array | None) -> jax.Array:
        c = self.config

        def unit(x: jax.Array, name: str, kernel: int = 1, rate: int = 1) -> jax.Array:
            return ConvBNReLU(c.decoder_channels, kernel, self.execution, dilation=rate, name=name)([x], train)

        x = ResNet(c, self.execution, name="encoder")(images, train)
        levels = [unit(x, "point"), *(unit(x, f"atrous{rate}", 3, rate) for rate in RATES)]
        levels.append(jnp.broadcast_to(unit(adaptive_average_pool(x, 1), "pool"), levels[0].shape))
        x = unit(jnp.concatenate(levels, axis=-1), "mix")
        x = Dropout(c.dropout_rate, channels=True, name="dropout")(x, train, sample_ids)
        return Conv(2, use_bias=True, name="classifier")(unit(x, "head", 3))
