"""How pixels become the tokens of an encoder's first stage."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.models.layers import dense
from pimjax.models.windows import pad_to_multiple
from pimjax.normalization import IMAGENET_STD


def high_pass_init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Random patch filters [p, p, 3, C] without their constant and linear parts: they see residuals, not content.

    pimjax's own, for training from scratch, in the spirit of the constrained convolutions of Bayar and Stamm (IH&MMSec
    2016): behind ordinary random filters, the brightness of a patch drowns its noise, and learning starts late.
    """
    p = shape[0]
    y, x = np.mgrid[:p, :p].reshape(2, -1) - (p - 1) / 2
    plane, _ = np.linalg.qr(np.stack([np.ones_like(x), y, x], axis=1))
    residual = np.eye(p * p) - plane @ plane.T
    filters = nn.initializers.lecun_normal()(key, shape, dtype).reshape(p * p, -1)
    # Residuals of a photo are some thirty times weaker than its normalised content.
    return 30 * (jnp.asarray(residual, dtype) @ filters).reshape(shape)


class PatchEmbedding(nn.Module):
    """Image [B, H, W, 3] → [B, ⌈H/p⌉, ⌈W/p⌉, features]: each patch of p×p pixels by one matrix product."""

    features: int
    patch: int  # p
    high_pass_init: bool = False

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        kernel_init, bias_init = nn.initializers.lecun_normal(), nn.initializers.zeros
        if self.high_pass_init:
            # Beside a bias as large as they are, the LayerNorm that follows leaves the residuals their strength.
            kernel_init, bias_init = high_pass_init, nn.initializers.normal(1.0)
        kernel = self.param("kernel", kernel_init, (self.patch, self.patch, 3, self.features))
        return filter_patches(images, kernel) + self.param("bias", bias_init, (self.features,))


class SpectralEmbedding(nn.Module):
    """Image [B, H, W, 3] → [B, ⌈H/p⌉, ⌈W/p⌉, features]: patches of p×p pixels by the strength of their frequencies.

    pimjax's own, for training from scratch with p = 8, a JPEG block: 2·features filters that start as a discrete cosine
    transform of luma and chroma in grey levels, log(0.5 + |y|) of three quarters of them, and a dense layer over all.
    What JPEG leaves of a block (frequencies that are quantised to nothing, or not) shows in the strength of each, which
    behind one linear layer takes a network long to find.
    """

    features: int
    patch: int  # p

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        filters = 2 * self.features
        rectified = 3 * filters // 4
        kernel = self.param("filters", cosine_init, (self.patch, self.patch, 3, filters), rectified)
        y = filter_patches(images, kernel)
        # Rounding to whole grey levels leaves a deviation of 0.3 in every frequency: below it, nothing is to be told.
        strength = jnp.log(0.5 + jnp.abs(y[..., :rectified]))
        return dense(jnp.concatenate([strength, y[..., rectified:]], axis=-1), self.features, "mix")


def cosine_init(key: jax.Array, shape: tuple[int, ...], rectified: int) -> jax.Array:
    """Filters [p, p, 3, n] that give DCT coefficients of normalised images, low frequencies first.

    The first `rectified` in grey levels: luma without its mean, then chroma; the others at about unit strength: luma
    and both chromas in turn, means included.
    """
    p, _, _, count = shape
    n = np.arange(p)
    transform = np.cos((2 * n + 1) * n[:, None] * np.pi / (2 * p)) * np.sqrt(np.where(n, 2, 1) / p)[:, None]
    order = np.argsort(np.add.outer(n, n).ravel(), kind="stable")
    basis = np.einsum("uy,vx->uvyx", transform, transform).reshape(p * p, p, p)[order]
    colours = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]]) * 255 * IMAGENET_STD
    luma, *chroma = (np.einsum("nyx,c->nyxc", basis, colour) for colour in colours)
    strengths = np.concatenate([luma[1:], np.stack([c[1:] for c in chroma], axis=1).reshape(-1, p, p, 3)])
    # A photo's means vary by some 300 grey levels (times p / 8), its low frequencies by 50.
    signed = np.stack([luma, *chroma], axis=1) / 50
    signed[0] /= 6
    filters = np.concatenate([strengths[:rectified], signed.reshape(-1, p, p, 3)[: count - rectified]])
    return jnp.asarray(filters.transpose(1, 2, 3, 0), jnp.float32)


def filter_patches(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """[B, H, W, 3] and [p, p, 3, n] → [B, ⌈H/p⌉, ⌈W/p⌉, n], zero-padded at the bottom and right to whole patches."""
    p = len(kernel)
    images = pad_to_multiple(images, p)
    B, H, W, _ = images.shape
    patches = images.reshape(B, H // p, p, W // p, p, 3)
    # In full precision always: half of it cannot tell a grey level from the next.
    return jnp.einsum("bhiwjc,ijco->bhwo", patches, kernel, precision="highest")
