"""How the per-device step is spread over the devices of all processes, and where its arrays lie."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pimjax.training.step import TrainState
from pimjax.training.zero import AXIS, shard_axis

Step: TypeAlias = Callable[[TrainState, dict[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]]


def all_devices() -> tuple[jax.Device, ...]:  # pyright: ignore[reportInvalidTypeForm]
    """Return every device of every process, those of a process side by side."""
    return tuple(sorted(jax.devices(), key=lambda device: (device.process_index, device.id)))


@dataclasses.dataclass(frozen=True)
class Partition:
    """Say which devices compute a run, and which of them holds what.

    A batch is split along its first axis, in the order of `devices`. The state is whole on every device, except with
    `shards` > 1 the optimizer's state and the parameters' average: see `pimjax.training.zero`.
    """

    devices: tuple[jax.Device, ...]  # pyright: ignore[reportInvalidTypeForm]
    mapping: str = "pmap"  # or "shard_map"; both give the same numbers
    shards: int = 1  # 1 or the number of devices

    @property
    def mesh(self) -> Mesh:
        """Return the devices along `AXIS`."""
        return Mesh(np.array(self.devices), (AXIS,))

    @property
    def processes(self) -> int:
        """Return how many processes the devices belong to."""
        return len({device.process_index for device in self.devices})

    def sharding(self, *axes: str | None) -> NamedSharding:
        """Split over the devices along the axes so named; without any, a copy on each."""
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def device_put(self, state: TrainState) -> TrainState:
        """Place a state of host arrays, equal in all processes, on the devices as it is stored."""

        def leaf(array: Any, spec: PartitionSpec) -> jax.Array:
            array = np.asarray(array)
            return jax.make_array_from_callback(array.shape, self.sharding(*spec), lambda index: array[index])

        return jax.tree.map(leaf, state, self._specs(state))

    def replicate(self, tree: Any) -> Any:
        """Gather shared-out arrays, as they are stored, on every device."""
        return tree if self.shards == 1 else _copied(tree, self.sharding())

    def split_batch(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """Move this process's part of a batch, [B / processes, …], to its devices, as `map_step` wants it."""
        if self.mapping == "pmap":
            n = len(self.devices) // self.processes
            batch = {key: array.reshape(n, len(array) // n, *array.shape[1:]) for key, array in batch.items()}
        return {key: jax.make_array_from_process_local_data(self.sharding(AXIS), array) for key, array in batch.items()}

    def map_step(self, step: Step, state: TrainState) -> Any:
        """Map a per-device step to one function over all devices, to be lowered and compiled.

        The state given is donated: do not use it again. State and metrics come back as the global arrays they are.
        `state` says which arrays there are, in the shapes that are stored.
        """
        specs = self._specs(state)
        if self.mapping == "pmap":
            axes = jax.tree.map(lambda spec: tuple(spec).index(AXIS) if AXIS in tuple(spec) else None, specs)
            return jax.pmap(
                step, AXIS, in_axes=(axes, 0), out_axes=(axes, None), devices=self.devices, donate_argnums=(0,)
            )
        # Without check_vma, autodiff inserts no collectives of its own: the step's are the only ones, as under pmap.
        mapped = jax.shard_map(
            step,
            mesh=self.mesh,
            in_specs=(specs, PartitionSpec(AXIS)),
            out_specs=(specs, PartitionSpec()),
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=(0,))

    def map_forward(self, forward: Callable[[Any, jax.Array], Any]) -> Callable[[Any, np.ndarray], Any]:
        """Map (variables, images [B, …]) → results [B, …]: each device computes its part of B, all get the whole.

        `forward` must give for an image what does not depend on the others. Every process gives all the images.
        """

        def per_device(variables: Any, images: jax.Array) -> Any:
            return jax.lax.all_gather(forward(variables, images), AXIS, tiled=True)

        mapped = jax.jit(
            jax.shard_map(
                per_device,
                mesh=self.mesh,
                in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
                out_specs=PartitionSpec(),
                check_vma=False,
            )
        )

        def whole(variables: Any, images: np.ndarray) -> Any:
            split = self.sharding(AXIS)
            return mapped(variables, jax.make_array_from_callback(images.shape, split, lambda index: images[index]))

        return whole

    def stored_shapes(self, shapes: TrainState) -> TrainState:
        """Return `shapes` with the shardings that a checkpoint is written from and read into."""
        return jax.tree.map(
            lambda leaf, spec: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self.sharding(*spec)),
            shapes,
            self._specs(shapes),
        )

    def to_stored(self, state: TrainState, shapes: TrainState) -> TrainState:
        """Reshape the state as it is in `shapes`: pmap wants shared-out arrays with an axis of devices."""
        return self._reshape(state, shapes, stored=True)

    def from_stored(self, state: TrainState) -> TrainState:
        """Reshape the state as `map_step`'s function wants it, from arrays placed as `stored_shapes` says."""
        return self._reshape(state, state, stored=False)

    def _specs(self, state: TrainState) -> TrainState:
        """Return a PartitionSpec for every array of the state, by the shapes that are stored."""

        def spec(leaf: Any) -> PartitionSpec:
            axis = shard_axis(leaf.shape, self.shards)
            return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, AXIS)

        whole = jax.tree.map(lambda leaf: PartitionSpec(), state)
        return whole.replace(
            opt_state=jax.tree.map(spec, state.opt_state), ema_params=jax.tree.map(spec, state.ema_params)
        )

    def _reshape(self, state: TrainState, shapes: TrainState, stored: bool) -> TrainState:
        if self.mapping != "pmap" or self.shards == 1:
            return state

        def shape_of(leaf: Any) -> tuple[int, ...]:
            axis = shard_axis(leaf.shape, self.shards)
            if stored or axis is None:
                return leaf.shape
            return (*leaf.shape[:axis], self.shards, leaf.shape[axis] // self.shards, *leaf.shape[axis + 1 :])

        specs = self._specs(shapes)
        shardings = tuple(self.sharding(*spec) for spec in jax.tree.leaves((specs.opt_state, specs.ema_params)))
        wanted = tuple(map(shape_of, jax.tree.leaves((shapes.opt_state, shapes.ema_params))))
        leaves, structure = jax.tree.flatten((state.opt_state, state.ema_params))
        opt_state, ema_params = structure.unflatten(_reshaped(leaves, wanted, shardings))
        return dataclasses.replace(state, opt_state=opt_state, ema_params=ema_params)


@functools.partial(jax.jit, static_argnums=1)
def _copied(tree: Any, sharding: NamedSharding) -> Any:
    return jax.lax.with_sharding_constraint(tree, sharding)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _reshaped(
    arrays: list[jax.Array], shapes: tuple[tuple[int, ...], ...], shardings: tuple[NamedSharding, ...]
) -> list[jax.Array]:
    # Along an axis split evenly, every device keeps the numbers it has.
    return [
        jax.lax.with_sharding_constraint(array.reshape(shape), sharding)
        for array, shape, sharding in zip(arrays, shapes, shardings, strict=True)
    ]


def check_batch_size(batch_size: int, devices: int, grad_accum_steps: int = 1) -> None:
    """Raise ValueError if a batch cannot be split evenly over devices and, on each, into `grad_accum_steps` parts."""
    if batch_size % (devices * grad_accum_steps):
        raise ValueError(
            f"config.data.batch_size is {batch_size}, which {devices} devices × {grad_accum_steps} parts "
            f"(config.train.grad_accum_steps) cannot share evenly; use a multiple of {devices * grad_accum_steps}"
        )
