"""The training loss (paper, section III-F)."""

import functools
import math
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from pimjax.config import LossConfig
from pimjax.models.pim import PIMOutput


class Targets(NamedTuple):
    """Hold what a batch should be decoded to, at a quarter of the input's size (h × w)."""

    mask: jax.Array  # [B, h, w] integer, 1 = manipulated
    boundary: jax.Array  # [B, h, w] integer, 1 = on the mask's edge
    image: jax.Array  # [B, h, w, 3] float32, normalized as the input
    full: jax.Array | None = None  # the mask at the input's size, [B, H, W]: for the compared networks


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean two-class cross-entropy over all pixels: logits [B, h, w, 2], labels [B, h, w] → scalar."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels.astype(jnp.int32)).mean()


def dice(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return 1 − 2 Σ p·y / Σ (p + y) of each image with forged pixels, 0 of the others; the mean over the batch.
    Scalar.

    logits [B, h, w, 2], labels y [B, h, w] of 0 and 1, p the probability of class 1. After Milletari, Navab and Ahmadi
    (V-Net, 3DV 2016), without their squares: of hard maps it is 1 − F1.
    """
    p, y = jax.nn.softmax(logits)[..., 1], labels.astype(logits.dtype)
    forged = y.sum((1, 2))
    overlap = 2 * (p * y).sum((1, 2)) / (p.sum((1, 2)) + jnp.maximum(forged, 1))
    return jnp.where(forged > 0, 1 - overlap, 0).mean()


def compactness(mask_logits: jax.Array, boundary_logits: jax.Array) -> jax.Array:
    """Return mean_b(P² / (4π·A)): P and A are the sums of the boundary's and the mask's class-1 probability. Scalar."""
    area = jax.nn.softmax(mask_logits)[..., 1].sum((1, 2))
    perimeter = jax.nn.softmax(boundary_logits)[..., 1].sum((1, 2))
    return jnp.mean(perimeter**2 / (4 * math.pi * area))


def pim_loss(output: PIMOutput, targets: Targets, weights: LossConfig) -> dict[str, jax.Array]:
    """Return the weighted terms and their sum: {"total", "mask", …} → scalars.

    A term whose weight is 0, or whose decoder the model does not have, is left out.
    """
    terms: dict[str, jax.Array] = {}
    if weights.mask:
        terms["mask"] = weights.mask * cross_entropy(output.mask_logits, targets.mask)
    if weights.dice:
        terms["dice"] = weights.dice * dice(output.mask_logits, targets.mask)
    if output.boundary_logits is not None:
        if weights.boundary:
            terms["boundary"] = weights.boundary * cross_entropy(output.boundary_logits, targets.boundary)
        if weights.compactness:
            terms["compactness"] = weights.compactness * compactness(output.mask_logits, output.boundary_logits)
    if output.reconstruction is not None and weights.reconstruction:
        error = jnp.abs(output.reconstruction - targets.image).mean()
        terms["reconstruction"] = weights.reconstruction * error
    return {"total": functools.reduce(operator.add, terms.values(), jnp.zeros(())), **terms}
