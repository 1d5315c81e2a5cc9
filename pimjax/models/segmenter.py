"""What the baselines have in common: PIM's call and output, with the mask decoder alone."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.models.layers import Execution, resize_bilinear
from pimjax.models.pim import Features, PIMOutput
from pimjax.models.windows import pad_to_multiple


class Segmenter(nn.Module):
    """Call a network as `PIM`: float32 images [B, H, W, 3], any H and W → `PIMOutput` with `mask_logits` alone.

    A subclass defines `logits`. Its images are zero-padded at the bottom and right to multiples of `multiple`; its
    logits are enlarged to a quarter of their size, and what stands for nothing but padding is cut off.
    """

    config: Any  # a `NetworkConfig`: the subclass says which
    execution: Execution = Execution()
    multiple: ClassVar[int] = 16

    def __call__(self, images: jax.Array, train: bool = False, sample_ids: jax.Array | None = None) -> PIMOutput:
        B, H, W, _ = images.shape
        padded = pad_to_multiple(images, self.multiple)
        logits = self.logits(padded, train, sample_ids)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        logits = resize_bilinear(logits, padded.shape[1] // 4, padded.shape[2] // 4)
        return PIMOutput(logits[:, : -(-H // 4), : -(-W // 4)], None, None, Features((), (), (), ()))

    def logits(self, images: jax.Array, train: bool, sample_ids: jax.Array | None) -> jax.Array:
        """Compute padded images [B, H, W, 3] → [B, H/s, W/s, 2], s ≥ 4."""
        raise NotImplementedError
