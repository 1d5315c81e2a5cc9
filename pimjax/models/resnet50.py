"""ResNet-50 (He et al., CVPR 2016) as torchvision composes it, with the dilations of those who segment with it."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from pimjax.models.layers import Execution
from pimjax.models.torch_layers import BatchNorm2d, Conv2d, lower, max_pool, record, remat

DEPTHS = (3, 4, 6, 3)
# The usual strides; a segmentation network dilates instead of striding: torchvision's FCN and DeepLab, and MVSS-Net.
CLASSIFICATION = ((1, (1,)), (2, (1,)), (2, (1,)), (2, (1,)))
STRIDE_8 = ((1, (1,)), (2, (1,)), (1, (1, 2)), (1, (2, 4)))
STRIDE_16 = ((1, (1,)), (2, (1,)), (2, (1,)), (1, (1, 2, 4)))


class Bottleneck(nn.Module):
    """Add 1×1 to `width`, 3×3, 1×1 to 4·width: [B, H, W, C] → [B, ⌈H/stride⌉, ⌈W/stride⌉, expansion·width]."""

    width: int
    stride: int = 1
    dilation: int = 1
    train: bool = False
    expansion: int = 4
    momentum: float = 0.1  # of BatchNorm's running averages

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        features = self.expansion * self.width
        norm = lambda name: BatchNorm2d(self.train, momentum=self.momentum, name=name)  # noqa: E731
        y = nn.relu(norm("bn1")(Conv2d(self.width, use_bias=False, name="conv1")(x)))
        y = Conv2d(self.width, 3, self.stride, self.dilation, self.dilation, use_bias=False, name="conv2")(y)
        y = norm("bn3")(Conv2d(features, use_bias=False, name="conv3")(nn.relu(norm("bn2")(y))))
        if self.stride > 1 or x.shape[-1] != features:
            x = norm("downsample.1")(Conv2d(features, stride=self.stride, use_bias=False, name="downsample.0")(x))
        return nn.relu(x + y)


class ResNet50(nn.Module):
    """Encode [B, H, W, C], any H and W, to the maps of the four layers, of 256, 512, 1024 and 2048 channels.

    `layers` gives each one's stride and its blocks' dilations, of which the last goes on. Nothing is padded beforehand:
    strides round up. Of another `embed_dim`, the stem's width, layer i has 2^(i + 1) times as many channels.
    """

    layers: Sequence[tuple[int, tuple[int, ...]]] = STRIDE_8
    train: bool = False
    embed_dim: int = 64
    depths: Sequence[int] = DEPTHS
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        x = Conv2d(self.embed_dim, 7, 2, 3, use_bias=False, name="conv1")(x)
        x = lower(x, self.execution)
        x = max_pool(nn.relu(BatchNorm2d(self.train, name="bn1")(x)), 3, 2, 1)
        record(self, "maxpool", x)
        maps, block = [], remat(Bottleneck, self.execution)
        for number, (depth, (stride, dilations)) in enumerate(zip(self.depths, self.layers, strict=True), 1):
            for i in range(depth):
                dilation = dilations[min(i, len(dilations) - 1)]
                width, name = self.embed_dim * 2 ** (number - 1), f"layer{number}.{i}"
                x = block(width, 1 if i else stride, dilation, self.train, name=name)(x)
                if not i:
                    record(self, f"layer{number}_block0", x)
            maps.append(x)
            record(self, f"layer{number}", x)
        return maps
