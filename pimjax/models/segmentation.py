"""FCN and DeepLabv3 on a dilated ResNet-50, as torchvision composes them, and U-Net; with two classes."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.layers import Execution
from pimjax.models.resnet50 import DEPTHS, STRIDE_8, ResNet50
from pimjax.models.torch_layers import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    exact,
    lower,
    max_pool,
    record,
    remat,
    resize,
)


class SegmentationOutput(NamedTuple):
    """Hold what the network says of B images; class 1 is "manipulated"."""

    logits_stride8: jax.Array | None  # [B, ⌈H/8⌉, ⌈W/8⌉, 2]
    logits: jax.Array  # [B, H, W, 2]
    probability: jax.Array  # [B, H, W]
    score: None = None  # the network has none of the image


def segmentation_output(low: jax.Array, images: jax.Array) -> SegmentationOutput:
    """Enlarge logits to the size of the images."""
    low = exact(low)
    logits = resize(low, images.shape[1:3])
    return SegmentationOutput(low, logits, nn.softmax(logits)[..., 1])


class FCNResNet50(nn.Module):
    """Segment normalized images [B, H, W, 3], any H and W (Long et al., CVPR 2015). 32,947,266 parameters."""

    embed_dim: int = 64  # of the stem
    depths: Sequence[int] = DEPTHS
    decoder_channels: int = 512
    dropout_rate: float = 0.1  # of single elements
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> SegmentationOutput:
        x = ResNet50(STRIDE_8, train, self.embed_dim, self.depths, self.execution, name="backbone")(images)[-1]
        x = Conv2d(self.decoder_channels, 3, padding=1, use_bias=False, name="classifier.0")(x)
        x = Dropout(self.dropout_rate, train)(nn.relu(BatchNorm2d(train, name="classifier.1")(x)))
        return segmentation_output(Conv2d(2, name="classifier.4")(x), images)


class DeepLabV3ResNet50(nn.Module):
    """Segment normalized images [B, H, W, 3], any H and W (Chen et al., 2017). 39,633,986 parameters.

    In training the branch of the whole map's mean normalizes B values a channel: B must be 2 or more.
    """

    embed_dim: int = 64  # of the stem
    depths: Sequence[int] = DEPTHS
    decoder_channels: int = 256
    dropout_rate: float = 0.5  # of single elements
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> SegmentationOutput:
        x = ResNet50(STRIDE_8, train, self.embed_dim, self.depths, self.execution, name="backbone")(images)[-1]

        def branch(x: jax.Array, kernel: int, dilation: int, conv: str, norm: str) -> jax.Array:
            padding = dilation if kernel == 3 else 0
            width, name = self.decoder_channels, f"classifier.{conv}"
            x = Conv2d(width, kernel, padding=padding, dilation=dilation, use_bias=False, name=name)(x)
            return nn.relu(BatchNorm2d(train, name=f"classifier.{norm}")(x))

        maps = [branch(x, 1, 1, "0.convs.0.0", "0.convs.0.1")]
        for i, dilation in enumerate((12, 24, 36), 1):
            maps.append(branch(x, 3, dilation, f"0.convs.{i}.0", f"0.convs.{i}.1"))
        pooled = branch(x.mean((1, 2), keepdims=True), 1, 1, "0.convs.4.1", "0.convs.4.2")
        maps.append(jnp.broadcast_to(pooled, maps[0].shape))
        for i, map_ in enumerate(maps):
            record(self, f"aspp{i}", map_)
        x = branch(jnp.concatenate(maps, -1), 1, 1, "0.project.0", "0.project.1")
        record(self, "project", x)
        x = branch(Dropout(self.dropout_rate, train)(x), 3, 1, "1", "2")
        return segmentation_output(Conv2d(2, name="classifier.4")(x), images)


class DoubleConv(nn.Module):
    """Apply two 3×3 convolutions, each with BatchNorm and ReLU: [B, H, W, C] → [B, H, W, features]."""

    features: int
    train: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for conv, norm in (("0", "1"), ("3", "4")):
            x = Conv2d(self.features, 3, padding=1, use_bias=False, name=f"double_conv.{conv}")(x)
            x = nn.relu(BatchNorm2d(self.train, name=f"double_conv.{norm}")(x))
        return x


class UNet(nn.Module):
    """Segment images [B, H, W, 3], any H and W (Ronneberger et al., MICCAI 2015), with padding and BatchNorm.

    31,037,698 parameters. `logits_stride8` is None: its logits have full size.
    """

    embed_dim: int = 64  # channels of the first level; they double with each
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> SegmentationOutput:
        block = remat(DoubleConv, self.execution)
        x = block(self.embed_dim, train, name="inc")(images)
        record(self, "inc", x)
        x = lower(x, self.execution)
        skips = [x]
        for i, features in enumerate((2, 4, 8, 16), 1):
            x = block(features * self.embed_dim, train, name=f"down{i}.maxpool_conv.1")(max_pool(x, 2, 2))
            record(self, f"down{i}", x)
            skips.append(x)
        for j, features in enumerate((8, 4, 2, 1), 1):
            features *= self.embed_dim
            x = ConvTranspose2d(features, 2, 2, name=f"up{j}.up")(x)
            skip = skips[-1 - j]
            around = [(d // 2, d - d // 2) for d in (n - m for n, m in zip(skip.shape[1:3], x.shape[1:3], strict=True))]
            x = jnp.concatenate([skip, jnp.pad(x, ((0, 0), *around, (0, 0)))], -1)
            x = block(features, train, name=f"up{j}.conv")(x)
            record(self, f"up{j}", x)
        logits = exact(Conv2d(2, name="outc.conv")(x))
        return SegmentationOutput(None, logits, nn.softmax(logits)[..., 1])
