"""Optimizer state in equal parts on all devices (ZeRO stage 1: Rajbhandari et al., SC 2020): collectives of a step.

Every kernel is split along one of its axes into as many parts as there are devices; each device reduces, updates and
then hands round its own part. Vectors, and kernels without an axis that divides evenly, are whole on every device. With
a count of 1 nothing is split, and these are the plain mean, norm and identity.
"""

from typing import Any

import jax
import jax.numpy as jnp

AXIS = "data"  # the mapped axis: the devices, each with its images of a batch


def shard_axis(shape: tuple[int, ...], count: int) -> int | None:
    """Return along which axis an array of this shape is split in `count` parts: the longest that allows it, or None."""
    if count == 1 or len(shape) < 2:
        return None
    return max((axis for axis in range(len(shape)) if shape[axis] % count == 0), key=shape.__getitem__, default=None)


def scatter_mean(gradients: Any, count: int) -> Any:
    """Average over devices, each of which gets its own part."""

    def leaf(gradient: jax.Array) -> jax.Array:
        axis = shard_axis(gradient.shape, count)
        if axis is None:
            return jax.lax.pmean(gradient, AXIS)
        return jax.lax.psum_scatter(gradient, AXIS, scatter_dimension=axis, tiled=True) / count

    return jax.tree.map(leaf, gradients)


def local_shard(tree: Any, count: int) -> Any:
    """Return this device's part of arrays that are the same on all devices."""

    def leaf(whole: jax.Array) -> jax.Array:
        axis = shard_axis(whole.shape, count)
        if axis is None:
            return whole
        size = whole.shape[axis] // count
        return jax.lax.dynamic_slice_in_dim(whole, jax.lax.axis_index(AXIS) * size, size, axis)

    return jax.tree.map(leaf, tree)


def gather(parts: Any, like: Any, count: int) -> Any:
    """Gather whole arrays, of the shapes of `like`, from every device's part."""

    def leaf(part: jax.Array, whole: jax.Array) -> jax.Array:
        axis = shard_axis(whole.shape, count)
        return part if axis is None else jax.lax.all_gather(part, AXIS, axis=axis, tiled=True)

    return jax.tree.map(leaf, parts, like)


def global_norm(parts: Any, like: Any, count: int) -> jax.Array:
    """Return the L2 norm of all numbers of a tree of parts, each counted once. float32 scalar."""
    squares = {True: jnp.zeros(()), False: jnp.zeros(())}
    for part, whole in zip(jax.tree.leaves(parts), jax.tree.leaves(like), strict=True):
        squares[shard_axis(whole.shape, count) is None] += jnp.sum(jnp.square(part))
    split = squares[False] if count == 1 else jax.lax.psum(squares[False], AXIS)
    return jnp.sqrt(squares[True] + split)
