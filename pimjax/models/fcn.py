"""FCN (Long, Shelhamer and Darrell, CVPR 2015) on a dilated ResNet, with torchvision's head."""

import flax.linen as nn
import jax

from pimjax.config import FCNConfig
from pimjax.models.layers import Conv, ConvBNReLU, Dropout
from pimjax.models.resnet import ResNet
from pimjax.models.segmenter import Segmenter


class FCN(Segmenter):
    """Run a ResNet; 3×3 convolution, BatchNorm, ReLU; channel dropout; a classifier. Call and output: `Segmenter`.

    Logits have stride 8. There is no skip connection to finer maps ("FCN-32s"): dilation keeps the map fine instead.
    """

    config: FCNConfig
    multiple = 8

    @nn.compact
    def logits(self, images: jax.Array, train: bool, sample_ids: jax.Array | None) -> jax.Array:
        c = self.config
        x = ResNet(c, self.execution, name="encoder")(images, train)
        x = ConvBNReLU(c.decoder_channels, 3, self.execution, name="head")([x], train)
        x = Dropout(c.dropout_rate, channels=True, name="dropout")(x, train, sample_ids)
        return Conv(2, use_bias=True, name="classifier")(x)
