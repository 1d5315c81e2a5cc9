"""Checkpoints of a run: the newest to resume from, the best to use.

A run's directory holds "checkpoints/step_N", each with the model's variables, the optimiser's state and the run's
configuration. They are written in the background and appear only when complete.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from pimjax.config import Config
from pimjax.config_files import flatten, from_dict
from pimjax.training.step import TrainState
from pimjax.weights.convert import variable_shapes

FOLDER = "checkpoints"


def _f1(metrics: dict[str, float]) -> float:
    return metrics["f1"]


def open_checkpoints(workdir: str | Path, read_only: bool = False) -> ocp.CheckpointManager:
    """The checkpoints of the run in `workdir`; the newest is kept, and the best by validation F1."""
    best = preservation_policy.BestN(get_metric_fn=_f1, n=1, keep_checkpoints_without_metrics=False)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.AnyPreservationPolicy([preservation_policy.LatestN(1), best]),
        best_fn=_f1,
        step_prefix="step",
        read_only=read_only,
    )
    return ocp.CheckpointManager(
        Path(workdir).resolve() / FOLDER, item_names=("variables", "optimizer", "config"), options=options
    )


def save(
    checkpoints: ocp.CheckpointManager, state: TrainState, config: Config, metrics: dict[str, float] | None
) -> None:
    """Writes `state` as step `state.step`, with `metrics` (holding "f1") if it was validated; once only."""
    step = int(state.step)
    if step in checkpoints.all_steps():
        return
    arguments = ocp.args.Composite(
        variables=ocp.args.StandardSave({"params": state.params, "batch_stats": state.batch_stats}),
        optimizer=ocp.args.StandardSave({"opt_state": state.opt_state, "step": state.step}),
        config=ocp.args.JsonSave(dataclasses.asdict(config)),
    )
    checkpoints.save(step, args=arguments, metrics=metrics)


def restore_newest(checkpoints: ocp.CheckpointManager, like: TrainState, config: Config) -> TrainState:
    """The newest checkpoint, of which there must be one, in the shapes and shardings of `like`.

    `like` holds arrays or `jax.ShapeDtypeStruct`.

    Raises:
        ValueError: it was written by a run of another model, data or recipe, or by another version of pimjax.
    """
    step = checkpoints.latest_step()
    _check_same_run(_stored_config(checkpoints, step), config, checkpoints.directory)
    arguments = ocp.args.Composite(
        variables=ocp.args.StandardRestore({"params": like.params, "batch_stats": like.batch_stats}),
        optimizer=ocp.args.StandardRestore({"opt_state": like.opt_state, "step": like.step}),
    )
    items = checkpoints.restore(step, args=arguments)
    return TrainState(**items["variables"], **items["optimizer"])


def load_variables(directory: str | Path) -> tuple[dict[str, Any], Config]:
    """The best checkpoint's variables, as numpy arrays {"params", "batch_stats"}, and its run's configuration.

    Where none was validated, the newest. `directory` is a run's directory or the "checkpoints" in it.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: it was written by another version of pimjax.
    """
    workdir = Path(directory).parent if Path(directory).name == FOLDER else Path(directory)
    if not (workdir / FOLDER).is_dir():
        raise FileNotFoundError(
            f"{directory}: no checkpoint there; give a run's directory, as in --checkpoint runs/demo"
        )
    with open_checkpoints(workdir, read_only=True) as checkpoints:
        step = checkpoints.best_step()
        if step is None and (step := checkpoints.latest_step()) is None:
            raise FileNotFoundError(f"{directory}: its run has not written a complete checkpoint yet")
        config = _stored_config(checkpoints, step)
        # Onto one device of this machine: those they were saved from need not exist here.
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), variable_shapes(config.model)
        )
        items = checkpoints.restore(step, args=ocp.args.Composite(variables=ocp.args.StandardRestore(like)))
    return jax.tree.map(np.asarray, items["variables"]), config


def _stored_config(checkpoints: ocp.CheckpointManager, step: int) -> Config:
    stored = checkpoints.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore()))["config"]
    try:
        return from_dict(Config, stored)
    except ValueError as error:
        raise ValueError(f"{checkpoints.directory}: {error}; it was written by another version of pimjax") from None


def _check_same_run(stored: Config, wanted: Config, directory: Any) -> None:
    # How long a run lasts and how often it looks up may change on resuming; what it computes may not.
    free = {"workdir", "data.workers", "data.max_broken", "train.init", "train.mapping", "train.remat", "train.steps"}
    free |= {f"train.{name}_every" for name in ("validate", "log", "checkpoint")}
    old, new = flatten(stored), flatten(wanted)
    changed = [key for key in old if old[key] != new[key] and key not in free]
    if changed:
        listing = ", ".join(f"{key} (there {old[key]!r}, now {new[key]!r})" for key in changed)
        raise ValueError(
            f"{directory}: holds checkpoints of another configuration: {listing}; "
            "give this run another --config.workdir, or restore those values to resume"
        )
