"""The ResNet encoder (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016), dilated to stride 8."""

import flax.linen as nn
import jax

from pimjax.config import DeepLabV3Config, FCNConfig
from pimjax.models.layers import ConvBN, ConvBNReLU, Execution, remat

EXPANSION = 4  # a block's output, in multiples of its inner width


class Bottleneck(nn.Module):
    """Add 1×1 to `width`, 3×3, 1×1 to 4·width: [B, H, W, C] → [B, ⌈H/stride⌉, ⌈W/stride⌉, 4·width].

    The stride is in the 3×3 convolution (torchvision's variant); an input of another shape is projected.
    """

    width: int
    stride: int = 1
    dilation: int = 1
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        features = EXPANSION * self.width
        y = ConvBNReLU(self.width, 1, self.execution, name="reduce")([x], train)
        y = ConvBNReLU(self.width, 3, self.execution, self.stride, self.dilation, name="spatial")([y], train)
        y = ConvBN(features, 1, self.execution, name="expand")([y], train)
        if self.stride > 1 or x.shape[-1] != features:
            x = ConvBN(features, 1, self.execution, self.stride, name="project")([x], train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Encode a normalized image [B, H, W, 3], sides divisible by 8: the last map [B, H/8, W/8, 32·embed_dim].

    From the third stage on dilation doubles where the classifier halves the map, a stage's first block having the
    dilation of the stage before (torchvision's segmentation models). Initialized as PIM's convolutions: behind
    BatchNorm, the scale of He et al.'s changes no output.
    """

    config: FCNConfig | DeepLabV3Config
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        c, execution = self.config, self.execution
        with jax.default_matmul_precision("highest"):  # half of it cannot tell a gray level from the next
            x = ConvBNReLU(c.embed_dim, 7, execution, 2, name="stem")([images], train)
        x = x.astype(execution.dtype or x.dtype)
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))  # pyright: ignore[reportArgumentType]  # as flax documents
        block = remat(Bottleneck, execution)
        before = 1
        for stage, depth in enumerate(c.depths):
            dilation = 2 ** max(stage - 1, 0)
            for i in range(depth):
                stride = 2 if stage == 1 and i == 0 else 1
                name = f"stage{stage}_block{i}"
                x = block(c.embed_dim * 2**stage, stride, dilation if i else before, execution, name=name)(x, train)
            before = dilation
        return x
