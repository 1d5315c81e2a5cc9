"""A compared network as `train.py` trains it: called as PIM, with its own output beside PIM's."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.config import NetworkConfig
from pimjax.jpeg.dct import BLOCK, DCT, LUMA
from pimjax.models.layers import Execution
from pimjax.models.preprocessing import Preprocessing, preprocessing_of
from pimjax.models.released import RELEASED, fields_of, released_model
from pimjax.models.resampling import resampling_features
from pimjax.normalization import IMAGENET_MEAN, IMAGENET_STD

STRIDE = 4  # of the probability that validation scores


class TrainedOutput(NamedTuple):
    """Hold a network's output as PIM's: mask logits at h = ⌈H/4⌉, w = ⌈W/4⌉, and no other decoder."""

    mask_logits: jax.Array  # [B, h, w, 2], of the mean probability of 4×4 pixels
    boundary_logits: None
    reconstruction: None
    network: Any  # the network's own


class Trained(nn.Module):
    """Call a compared network with images [B, H, W, 3] normalized as PIM's → `TrainedOutput`.

    The variables are the network's own. Training sees crops at the size that the data give: a network that resizes in
    use is not resized here.
    """

    config: NetworkConfig
    execution: Execution = Execution()

    @property
    def smallest_side(self) -> int:
        """Return the side of an image that shows all parameters, in pixels."""
        return RELEASED[self.config.architecture].side

    def setup(self) -> None:
        self.network = released_model(self.config.architecture, self.execution, **fields_of(self.config))
        nn.share_scope(self, self.network)

    def __call__(self, images: jax.Array, train: bool = False, sample_ids: jax.Array | None = None) -> TrainedOutput:
        how, further = preprocessing_of(self.config), {}
        if how.resampling:
            pixels = jnp.minimum(jnp.round(unnormalized(images)), how.largest)
            further["resampling"] = jax.lax.stop_gradient(jax.vmap(resampling_features)(pixels))
        if how.jpeg:
            coefficients = jax.lax.stop_gradient(saved_coefficients(unnormalized(images)))
            further |= {"coefficients": coefficients, "qtables": jnp.ones((len(images), BLOCK, BLOCK))}
        output = self.network(network_input(images, how), **further, train=train)
        p = output.probability
        H, W = p.shape[1:]
        around = ((0, 0), (0, -H % STRIDE), (0, -W % STRIDE))
        cells = jnp.pad(p, around, mode="edge")
        cells = cells.reshape(len(p), -(-H // STRIDE), STRIDE, -(-W // STRIDE), STRIDE).mean((2, 4))
        cells = jnp.clip(cells, 1e-6, 1 - 1e-6)
        logits = jnp.stack([jnp.zeros_like(cells), jnp.log(cells) - jnp.log1p(-cells)], -1)
        return TrainedOutput(logits, None, None, output)


def saved_coefficients(pixels: jax.Array) -> jax.Array:
    """Return luma's coefficients, int32 [B, H, W], as if gray levels [B, H, W, 3] were saved at quality 100.

    CAT-Net takes a picture that is no JPEG so. Sides are multiples of 8. Roundings differ from libjpeg's: some of a
    hundred coefficients are off by one.
    """
    luma = jnp.round(jnp.round(pixels) @ jnp.asarray(LUMA, pixels.dtype)) - 128
    B, H, W = luma.shape
    basis = jnp.asarray(DCT, pixels.dtype)
    blocks = luma.reshape(B, H // BLOCK, BLOCK, W // BLOCK, BLOCK)
    spectra = jnp.einsum("ui,baicj,vj->baucv", basis, blocks, basis, precision="highest")
    return jnp.round(spectra).astype(jnp.int32).reshape(B, H, W)


def unnormalized(images: jax.Array) -> jax.Array:
    """Return the gray levels of images normalized as PIM's, exact to rounding."""
    return (images * jnp.asarray(IMAGENET_STD) + jnp.asarray(IMAGENET_MEAN)) * 255


def network_input(images: jax.Array, how: Preprocessing) -> jax.Array:
    """Turn images normalized as PIM's into what a network is fed, but for its size."""
    pixels = jnp.minimum(unnormalized(images), how.largest)
    pixels = pixels[..., ::-1] if how.channels == "BGR" else pixels
    return ((pixels - how.shift) / how.scale - jnp.asarray(how.mean)) / jnp.asarray(how.std)
