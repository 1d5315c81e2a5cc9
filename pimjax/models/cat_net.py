"""CAT-Net (Kwon et al., WACV 2021; v2: IJCV 130, 2022, arXiv 2108.12947): RGB beside JPEG's own DCT coefficients."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.hrnet import MOMENTUM, BasicBlock, ConvNorm, HRModule, Maps, new_branch
from pimjax.models.layers import Execution
from pimjax.models.resnet50 import Bottleneck
from pimjax.models.torch_layers import BatchNorm2d, Conv2d, exact, lower, record, resize

LEVELS = 20  # |coefficient| from which all count as one


class CATNetOutput(NamedTuple):
    """Hold what the network says of B images; class 1 is "manipulated"."""

    logits: jax.Array  # [B, H/4, W/4, 2]; of the single-stream form [B, H/8, W/8, 2]
    probability: jax.Array  # [B, H, W]
    score: jax.Array  # [B], the largest probability of the logits' map: as benchmarks do, the network has none


def coefficient_volume(coefficients: jax.Array, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Return quantized coefficients, int [B, H, W], as one-hot magnitudes 0 … 20: [B, H, W, 21]. The sign is lost."""
    return jax.nn.one_hot(jnp.minimum(jnp.abs(coefficients), LEVELS), LEVELS + 1, dtype=dtype)


class CATNet(nn.Module):
    """Localize manipulation in JPEG files → `CATNetOutput`. 114,263,810 parameters, 43,536,554 with `dct_only`.

    Args of the call: images [B, H, W, 3], −1..1, sides multiples of 8; coefficients, int [B, H, W], luma's as the file
    stores them, (u, v) of block (i, j) at (8i + u, 8j + v); qtables [B, 8, 8], luma's steps.
    """

    dct_only: bool = False  # the released single-stream model, which sees no RGB
    embed_dim: int = 48  # channels of the finest of RGB's branches
    depths: tuple[int, int, int] = (1, 4, 3)  # modules of RGB's stages 2 to 4
    dct_depths: tuple[int, int] = (3, 2)  # modules of the coefficients' stages 3 and 4
    execution: Execution = Execution()

    @staticmethod
    def example_inputs(side: int) -> dict[str, jax.Array]:
        """Return black inputs, side×side pixels, for tracing."""
        coefficients = jnp.zeros((1, side, side), jnp.int32)
        return {"images": jnp.zeros((1, side, side, 3)), "coefficients": coefficients, "qtables": jnp.ones((1, 8, 8))}

    @nn.compact
    def __call__(
        self, images: jax.Array, coefficients: jax.Array, qtables: jax.Array, train: bool = False
    ) -> CATNetOutput:
        dct = self._dct_stream(coefficients, qtables.astype(images.dtype), self.execution.dtype or images.dtype, train)
        if self.dct_only:
            maps = dct
        else:
            first, *others = self._rgb_stream(images, train)
            maps = [first, *(jnp.concatenate(both, -1) for both in zip(others, dct, strict=True))]
            widths = tuple(self.embed_dim * 2**i // 2 for i in range(4))
            maps = [ConvNorm(widths[i], train=train, name=f"transition4.{i}")(x) for i, x in enumerate(maps)]
            maps = HRModule(widths, 4, False, train, name="stage5.0")(maps)
            for i, x in enumerate(maps, 1):
                record(self, f"fused{i}", x)
        size = maps[0].shape[1:3]
        x = jnp.concatenate([resize(x, size) for x in maps], -1)
        x = Conv2d(x.shape[-1], name="last_layer.0")(x)
        x = nn.relu(BatchNorm2d(train, momentum=MOMENTUM, name="last_layer.1")(x))
        logits = exact(Conv2d(2, name="last_layer.3")(x))
        probability = nn.softmax(resize(logits, coefficients.shape[1:3]))[..., 1]
        return CATNetOutput(logits, probability, nn.softmax(logits)[..., 1].max((1, 2)))

    def _rgb_stream(self, x: jax.Array, train: bool) -> Maps:
        """Encode RGB: maps of `embed_dim` to eight times as many channels, a quarter of the size to a 32nd."""
        widths = tuple(self.embed_dim * 2**i for i in range(4))
        for number in (1, 2):
            x = Conv2d(64, 3, 2, 1, use_bias=False, name=f"conv{number}")(x)
            x = lower(x, self.execution)
            x = nn.relu(BatchNorm2d(train, momentum=MOMENTUM, name=f"bn{number}")(x))
        for i in range(4):
            x = Bottleneck(64, train=train, momentum=MOMENTUM, name=f"layer1.{i}")(x)
        maps = [ConvNorm(widths[0], train=train, name="transition1.0")(x)]
        maps = [*maps, ConvNorm(widths[1], 3, 2, train, name="transition1.1.0")(x)]
        for stage, modules in zip((2, 3, 4), self.depths, strict=True):
            for m in range(modules):
                maps = HRModule(widths[:stage], 4, False, train, name=f"stage{stage}.{m}")(maps)
            if stage < 4:
                maps = new_branch(maps, widths[stage], f"transition{stage}.{stage}", train)
        for i, x in enumerate(maps, 1):
            record(self, f"rgb{i}", x)
        return maps

    def _dct_stream(self, coefficients: jax.Array, qtables: jax.Array, dtype: jnp.dtype, train: bool) -> Maps:
        """Encode coefficients: maps as wide as RGB's but the first, an eighth of the size to a 32nd."""
        widths = tuple(self.embed_dim * 2**i for i in (1, 2, 3))
        norm = lambda name: BatchNorm2d(train, momentum=MOMENTUM, name=name)  # noqa: E731
        x = coefficient_volume(coefficients, dtype)
        # The same frequency in the nine neighboring blocks.
        x = nn.relu(norm("dc_layer0_dil.1")(Conv2d(64, 3, padding=8, dilation=8, name="dc_layer0_dil.0")(x)))
        x = nn.relu(norm("dc_layer1_tail.1")(Conv2d(4, use_bias=False, name="dc_layer1_tail.0")(x)))
        record(self, "dct_tail", x)
        B, H, W, C = x.shape
        # A block's 64 frequencies become channels, and again times their steps.
        x = x.reshape(B, H // 8, 8, W // 8, 8, C)
        x = jnp.stack([x, x * qtables[:, None, :, None, :, None].astype(dtype)], 1)  # [B, 2, i, u, j, v, c]
        x = jnp.transpose(x, (0, 2, 4, 1, 6, 3, 5)).reshape(B, H // 8, W // 8, 2 * C * 64)
        for i in range(4):
            x = BasicBlock(widths[0], train, name=f"dc_layer2.{i}")(x)
        record(self, "dct_in", x)
        maps = [x]
        for stage, modules in zip((3, 4), self.dct_depths, strict=True):
            maps = new_branch(maps, widths[stage - 2], f"dc_transition{stage - 1}.{stage - 2}", train)
            for m in range(modules):
                maps = HRModule(widths[: stage - 1], 4, False, train, name=f"dc_stage{stage}.{m}")(maps)
        for i, x in enumerate(maps, 1):
            record(self, f"dct{i}", x)
        return maps
