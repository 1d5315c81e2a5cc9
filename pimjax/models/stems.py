"""How pixels become the tokens of an encoder's first stage."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pimjax.jpeg.dct import BLOCK, DCT, YCBCR
from pimjax.jpeg.double_compression import FREQUENCIES, NUM_FEATURES, double_compression
from pimjax.models.layers import dense
from pimjax.models.windows import pad_to_multiple
from pimjax.normalization import IMAGENET_MEAN, IMAGENET_STD

STEPS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20)  # of quantization, gray levels; smaller ones drown in rounding


def high_pass_init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Return random patch filters [p, p, 3, C] without their constant and linear parts: they see residuals, not
    content.

    pimjax's own, for training from scratch, in the spirit of the constrained convolutions of Bayar and Stamm (IH&MMSec
    2016): behind ordinary random filters, the brightness of a patch drowns its noise, and learning starts late.
    """
    p = shape[0]
    y, x = np.mgrid[:p, :p].reshape(2, -1) - (p - 1) / 2
    plane, _ = np.linalg.qr(np.stack([np.ones_like(x), y, x], axis=1))
    residual = np.eye(p * p) - plane @ plane.T
    filters = nn.initializers.lecun_normal()(key, shape, dtype).reshape(p * p, -1)
    # Residuals of a photo are some thirty times weaker than its normalized content.
    return 30 * (jnp.asarray(residual, dtype) @ filters).reshape(shape)


class PatchEmbedding(nn.Module):
    """Embed patches of p×p pixels by one matrix product: [B, H, W, 3] → [B, ⌈H/p⌉, ⌈W/p⌉, features]."""

    features: int
    patch_size: int  # p
    high_pass_init: bool = False

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        kernel_init, bias_init = nn.initializers.lecun_normal(), nn.initializers.zeros
        if self.high_pass_init:
            # Beside a bias as large as they are, the LayerNorm that follows leaves the residuals their strength.
            kernel_init, bias_init = high_pass_init, nn.initializers.normal(1.0)
        kernel = self.param("kernel", kernel_init, (self.patch_size, self.patch_size, 3, self.features))
        return filter_patches(images, kernel) + self.param("bias", bias_init, (self.features,))


class SpectralEmbedding(nn.Module):
    """Embed what JPEG leaves of 8×8 blocks, mixed by one layer: [B, H, W, 3] → [B, ⌈H/8⌉, ⌈W/8⌉, features].

    pimjax's own, for training from scratch: behind plain filters, a network takes long to find what is given here. Of
    a block's discrete cosine transform in gray levels, all without parameters:

    - log(0.5 + |y|), the strength of each frequency of luma and the lower ones of chroma: compression cuts the high
      ones off, on the grid of blocks where it worked;
    - sin²(π y / q) of luma's lower frequencies y for many q: 0 where y is a multiple of q, as all are, or nearly, that
      were once quantized with step q on this grid, even if a finer compression followed;
    - the lowest frequencies themselves: content;
    - with `double_compression`, what tells blocks of one compression from those of two, by the whole picture's
      histograms.
    """

    features: int
    double_compression: bool = False

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        luma, chroma = jnp.split(filter_patches(images, cosine_transform()), [BLOCK**2], axis=-1)
        # Rounding to whole gray levels leaves a deviation of 0.3 in every frequency: below it, nothing is to be told.
        strength = jnp.log(0.5 + jnp.abs(jnp.concatenate([luma[..., 1:], chroma[..., 2:32]], axis=-1)))
        misfit = jnp.sin(np.pi * luma[..., 1:16, None] / jnp.asarray(STEPS)) ** 2
        # A photo's means vary by some 300 gray levels, its low frequencies by 50.
        content = jnp.concatenate([luma[..., :1] / 300, luma[..., 1:8] / 50, chroma[..., :8] / 100], axis=-1)
        parts = (strength, 2 * misfit.reshape(*luma.shape[:-1], -1) - 1, content)
        mixed = dense(jnp.concatenate(parts, axis=-1), self.features, "mix")
        if self.double_compression:
            # Without parameters, and slow to trace: what they are does not matter yet when parameters are made.
            traces = (
                jnp.zeros((*luma.shape[:3], NUM_FEATURES)) if self.is_initializing() else block_traces(images, luma)
            )
            mixed += dense(traces, self.features, "traces", use_bias=False)
        return mixed


def block_traces(images: jax.Array, luma: jax.Array) -> jax.Array:
    """Return `double_compression` [B, ⌈H/8⌉, ⌈W/8⌉, 7] of normalized images and their luma's transform [..., 64]."""
    # On the other grid whole blocks only: half a block of padding has a step of its own.
    half, (H, W) = BLOCK // 2, (max(0, n - BLOCK // 2) // BLOCK * BLOCK for n in images.shape[1:3])
    inner = images[:, half : half + H, half : half + W]
    n = len(FREQUENCIES) + 1  # the first of both is the mean
    shifted = filter_patches(inner, cosine_transform()[..., :n])
    extreme = jnp.abs(images * IMAGENET_STD + IMAGENET_MEAN - 0.5) > 0.5 - 0.5 / 255
    return double_compression(luma[..., 1:n], shifted[..., 1:], _any_of_patch(extreme, BLOCK))


def _any_of_patch(pixels: jax.Array, p: int) -> jax.Array:
    """Reduce patches of p×p pixels: bool [B, H, W, 3] → [B, ⌈H/p⌉, ⌈W/p⌉]."""
    pixels = pad_to_multiple(pixels, p)
    B, H, W, C = pixels.shape
    return pixels.reshape(B, H // p, p, W // p, p, C).any((2, 4, 5))


def cosine_transform() -> np.ndarray:
    """Return filters float32 [8, 8, 3, 192]: a normalized image's DCT coefficients in gray levels, low ones first.

    64 of luma, then 128 of both chromas in turn. The orthonormal transform: a mean of 1 is a first coefficient of 8.
    """
    n = np.arange(BLOCK)
    order = np.argsort(np.add.outer(n, n).ravel(), kind="stable")
    basis = np.einsum("uy,vx->uvyx", DCT, DCT).reshape(BLOCK**2, BLOCK, BLOCK)[order]
    colors = YCBCR * 255 * IMAGENET_STD
    luma, *chroma = (np.einsum("nyx,c->nyxc", basis, color) for color in colors)
    filters = np.concatenate([luma, np.stack(chroma, axis=1).reshape(-1, BLOCK, BLOCK, 3)])
    return filters.transpose(1, 2, 3, 0).astype(np.float32)


def filter_patches(images: jax.Array, kernel: jax.Array | np.ndarray) -> jax.Array:
    """Filter patches: [B, H, W, 3] and [p, p, 3, n] → [B, ⌈H/p⌉, ⌈W/p⌉, n], zero-padded to whole patches at the end."""
    p = len(kernel)
    images = pad_to_multiple(images, p)
    B, H, W, _ = images.shape
    patches = images.reshape(B, H // p, p, W // p, p, 3)
    # In full precision always: half of it cannot tell a gray level from the next.
    return jnp.einsum("bhiwjc,ijco->bhwo", patches, kernel, precision="highest")
