"""MFCN, the multi-task fully convolutional network (Salloum, Ren and Kuo, JVCIR 51, 2018, arXiv 1709.02016).

Its authors published no code; this is the composition that public descriptions agree on: VGG-16 with BatchNorm, one
shared score layer, and two FCN-8s decoders, of the spliced surface and of its edge.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.layers import Execution
from pimjax.models.torch_layers import BatchNorm2d, Conv2d, ConvTranspose2d, Dropout, exact, lower, max_pool, record
from pimjax.models.windows import pad_to_multiple

GROUPS = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # VGG-16 between poolings: width in multiples of 64, convolutions


class MFCNOutput(NamedTuple):
    """Hold what the network says of B images; class 1 is "spliced", or "edge of the spliced region"."""

    surface_logits: jax.Array  # [B, H, W, 2]
    edge_logits: jax.Array  # [B, H, W, 2]
    probability: jax.Array  # [B, H, W], of the surface
    score: jax.Array  # [B], the surface's largest probability: ours, the paper has none


class Branch(nn.Module):
    """Decode scores [B, h, w, 2] and the fourth and third pooled maps to logits [B, 32h, 32w, 2], as FCN-8s."""

    @nn.compact
    def __call__(self, score: jax.Array, pool4: jax.Array, pool3: jax.Array) -> jax.Array:
        x = ConvTranspose2d(2, 4, 2, 1, use_bias=False, name="up16")(score) + Conv2d(2, name="skip4")(pool4)
        record(self, "stride16", x)
        x = ConvTranspose2d(2, 4, 2, 1, use_bias=False, name="up8")(x) + Conv2d(2, name="skip3")(pool3)
        record(self, "stride8", x)
        return exact(ConvTranspose2d(2, 16, 8, 4, use_bias=False, name="up1")(x))


class MFCN(nn.Module):
    """Localize splicing: normalized images [B, H, W, 3], any H and W → `MFCNOutput`. 134,282,570 parameters.

    The image is zero-padded at the bottom and right to multiples of 32, and the logits are cropped.
    """

    embed_dim: int = 64  # channels of the first convolutions
    hidden_dim: int = 4096  # channels of fc6 and fc7
    dropout_rate: float = 0.5  # of single elements behind fc6 and fc7
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> MFCNOutput:
        B, H, W, _ = images.shape
        x, number, pools = pad_to_multiple(images, 32), 0, []
        for width, depth in GROUPS:
            for _ in range(depth):
                x = Conv2d(width * self.embed_dim, 3, padding=1, name=f"features.{number}")(x)
                x = lower(x, self.execution)
                x = nn.relu(BatchNorm2d(train, name=f"features.{number + 1}")(x))
                number += 3
            x = max_pool(x, 2, 2)
            number += 1
            pools.append(x)
            record(self, f"pool{len(pools)}", x)
        for name, kernel in (("fc6", 7), ("fc7", 1)):
            x = nn.relu(Conv2d(self.hidden_dim, kernel, padding=kernel // 2, name=name)(x))
            record(self, name, x)
            x = Dropout(self.dropout_rate, train)(x)
        score = Conv2d(2, name="score")(x)
        record(self, "score", score)
        surface, edge = (Branch(name=name)(score, pools[3], pools[2])[:, :H, :W] for name in ("surface", "edge"))
        probability = nn.softmax(surface)[..., 1]
        return MFCNOutput(surface, edge, probability, jnp.max(probability, (1, 2)))
