"""How the per-device training step is spread over the devices of this process."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pimjax.training.step import AXIS

Step = Callable[..., tuple[Any, dict[str, jax.Array]]]


def map_step(step: Step, mapping: str, devices: Sequence[jax.Device]) -> Step:
    """A per-device step (state, batch, key) → (state, metrics) as one compiled function over all `devices`.

    State and key are replicated, every array of the batch is split along its first axis, and state and metrics come
    back as single (replicated) values. The state given is donated: do not use it again. `mapping` is "pmap" or
    "shard_map"; both give the same numbers. The returned function can be lowered and compiled ahead.
    """
    if mapping == "pmap":
        return jax.pmap(step, AXIS, in_axes=(None, 0, None), out_axes=None, devices=tuple(devices), donate_argnums=(0,))
    replicated, split = PartitionSpec(), PartitionSpec(AXIS)
    # Without check_vma, autodiff inserts no collectives of its own: the step's pmean is the only one, as under pmap.
    mapped = jax.shard_map(
        step,
        mesh=Mesh(np.array(devices), (AXIS,)),
        in_specs=(replicated, split, replicated),
        out_specs=replicated,
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=(0,))


def split_batch(batch: dict[str, np.ndarray], mapping: str, devices: Sequence[jax.Device]) -> dict[str, jax.Array]:
    """Moves a host batch [B, …] to the devices, as the function from `map_step` wants it."""
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))
    if mapping == "pmap":
        n = len(devices)
        batch = {key: array.reshape(n, len(array) // n, *array.shape[1:]) for key, array in batch.items()}
    return jax.device_put(batch, sharding)


def replicated(devices: Sequence[jax.Device]) -> NamedSharding:
    """A copy on each device."""
    return NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec())


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Puts a copy of every array on each device."""
    return jax.device_put(tree, replicated(devices))


def check_batch_size(batch_size: int, devices: int, accumulate: int = 1) -> None:
    """Raises ValueError if a batch cannot be split evenly over devices and, on each, into parts to accumulate."""
    if batch_size % (devices * accumulate):
        raise ValueError(
            f"config.data.batch_size is {batch_size}, which {devices} devices × {accumulate} parts "
            f"(config.train.accumulate) cannot share evenly; use a multiple of {devices * accumulate}"
        )
