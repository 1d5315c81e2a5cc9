"""PIM, the whole network (paper, figure 2): two encoders, local stream, fusion, three decoders."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.config import ModelConfig
from pimjax.models.layers import Execution, remat, resize_bilinear
from pimjax.models.local_stream import LocalBlock
from pimjax.models.lwm import LearningToWeight
from pimjax.models.swin import SwinEncoder
from pimjax.models.upernet import UPerNetDecoder

STRIDE = 4  # of the outputs, in pixels of the input

Maps = tuple[jax.Array, ...]


class Features(NamedTuple):
    """Hold the maps between encoders and decoders, four scales each; () where a stream is switched off."""

    swin: Maps  # plain encoder
    local: Maps  # plus difference convolutions
    global_: Maps  # masked encoder
    fused: Maps


class PIMOutput(NamedTuple):
    """Hold the three decoders' maps at h = ⌈H/4⌉, w = ⌈W/4⌉; None where the model has no such decoder."""

    mask_logits: jax.Array  # [B, h, w, 2]
    boundary_logits: jax.Array | None  # [B, h, w, 2]
    reconstruction: jax.Array | None  # [B, h, w, 3], normalized as the input
    features: Features


def predictions_of(output: PIMOutput) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """Return the probability of manipulation [B, h, w], that of the boundary, and the reconstruction [B, h, w, 3].

    None where the model has no such decoder.
    """
    boundary = output.boundary_logits
    return (
        jax.nn.softmax(output.mask_logits)[..., 1],
        None if boundary is None else jax.nn.softmax(boundary)[..., 1],
        output.reconstruction,
    )


class PIM(nn.Module):
    """Localize manipulation by pixel inconsistency (Kong et al., TPAMI 2025, doi 10.1109/TPAMI.2025.3541028).

    `PIM(ModelConfig()).apply(variables, images, train=False)` with float32 images [B, H, W, 3], RGB in 0..1
    normalized with `pimjax.normalization.normalize`; any H and W. Outputs are float32 whatever `execution.dtype`, maps
    are not. In training pass `rngs={"dropout": key}` and `mutable=["batch_stats"]`; what is dropped of an image depends
    on the key and on its number in `sample_ids`, int32 [B] (0 … B − 1 unless given). Under `jax.jit`, what of the
    output is not returned is not computed.
    """

    config: ModelConfig
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, sample_ids: jax.Array | None = None) -> PIMOutput:
        c, execution = self.config, self.execution
        B, H, W, _ = images.shape

        swin = SwinEncoder(c, execution=execution, name="encoder")(images, train, sample_ids)
        local = swin
        if c.local_stream != "none":
            local = tuple(
                remat(LocalBlock, execution)(c.local_stream, c.fusion, execution, name=f"local{i}")(x, train)
                for i, x in enumerate(swin)
            )
        global_, fused = (), local
        if c.global_stream:
            global_ = SwinEncoder(c, c.raster_mask, execution=execution, name="masked_encoder")(
                images, train, sample_ids
            )
            fused = tuple(
                remat(LearningToWeight, execution)(c.fusion, execution, name=f"fusion{i}")((a, b), a, train)
                for i, (a, b) in enumerate(zip(local, global_, strict=True))
            )

        def decode(name: str, maps: Maps, outputs: int) -> jax.Array:
            decoded = remat(UPerNetDecoder, execution)(c, outputs, execution, name=name)(maps, train, sample_ids)
            decoded = decoded.astype(jnp.promote_types(decoded.dtype, jnp.float32))
            if c.patch_size != STRIDE:
                decoded = resize_bilinear(decoded, *(n * c.patch_size // STRIDE for n in decoded.shape[1:3]))
            return decoded[:, : -(-H // STRIDE), : -(-W // STRIDE)]

        return PIMOutput(
            mask_logits=decode("mask_decoder", fused, 2),
            boundary_logits=decode("boundary_decoder", fused, 2) if c.boundary_decoder else None,
            reconstruction=decode("image_decoder", global_, 3) if c.image_decoder and c.global_stream else None,
            features=Features(swin, local, global_, fused),
        )
