"""Checkpoints of a run: the newest to resume from, the best to use.

A run's directory holds "checkpoints/step_N", each with

- variables: the model's, to be used: its parameters (their running average, where the run keeps one) and statistics,
- optimizer: what else the next step needs: Adam's state, the step's number (which is the position in the data, since
  batch n is a function of n), the random key,
- config: the run's configuration,
- progress: how many images each BatchNorm statistic saw, the devices, and all validation scores so far.

They are written in the background and appear only when complete; then checksums are added, which reading compares.
"""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from pimjax.aliases import PARAMETERS, STATE, inverse, renamed, renamed_tree
from pimjax.config import Config
from pimjax.config.load import flatten
from pimjax.terminal import say
from pimjax.training.sharding import Partition
from pimjax.training.step import TrainState
from pimjax.weights.runs import (
    ITEMS,
    add_checksums,
    check_checksums,
    json_item,
    open_manager,
    step_folder,
    stored_config,
)


class Checkpoints:
    """Keep the checkpoints of one run, in all its processes. Leaving this context waits for what is being written.

    Attributes:
        validations: the scores of all validations so far, {"step", "f1", …} each.
    """

    def __init__(self, config: Config, partition: Partition, shapes: TrainState):
        self.validations: list[dict[str, Any]] = []
        self._config, self._partition, self._shapes = config, partition, shapes
        self._manager = open_manager(config.workdir, config.train.keep_last, config.train.keep_best)
        self._writing: int | None = None  # the step being written

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.settle(wait=True)
        self._manager.close()

    @property
    def newest(self) -> int | None:
        """Return the newest complete checkpoint's step."""
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """Return the step of the best checkpoint, or of the newest where none was validated."""
        best = self._manager.best_step()
        return self.newest if best is None else best

    def was_validated(self, step: int) -> bool:
        """Return whether the scores of `step` are known."""
        return any(row["step"] == step for row in self.validations)

    def save(self, state: TrainState, scores: dict[str, float] | None = None) -> None:
        """Write `state` as step `state.step`, with `scores` (holding "f1") if it was validated.

        To a step that is there already, its scores are added.
        What fails, as on a full disk, is said and leaves the earlier checkpoints as they are; see `settle`.
        """
        step = int(state.step)
        if scores is not None:
            self.validations.append({"step": step, **scores})
        self.settle(wait=True)
        if step in self._manager.all_steps():
            if scores is not None:
                self._add_scores(step, scores)
            return
        state = self._partition.to_stored(state, self._shapes)
        used, rest = _items(state)
        progress = self._circumstances() | {"validations": self.validations}
        arguments = ocp.args.Composite(
            variables=ocp.args.StandardSave(used),
            optimizer=ocp.args.StandardSave(rest),
            config=ocp.args.JsonSave(dataclasses.asdict(self._config)),
            progress=ocp.args.JsonSave(progress),
        )
        self._writing = step
        try:
            self._manager.save(step, args=arguments, metrics=scores)
        except (OSError, ValueError, RuntimeError) as error:
            self._failed(error)

    def _add_scores(self, step: int, scores: dict[str, float]) -> None:
        # Where orbax keeps them. The checkpoint is complete and stays so, whatever happens here.
        if jax.process_index() == 0:
            file = Path(self._manager.directory) / f"step_{step}" / "metrics" / "metrics"
            new = file.with_suffix(".new")
            try:
                file.parent.mkdir(exist_ok=True)
                new.write_text(json.dumps(scores), encoding="utf-8")
                os.replace(new, file)
            except OSError as error:
                say(f"the scores of step {step} could not be added to its checkpoint: {error}")
        # No process may look before they are there: all must find the same checkpoint to be the best.
        multihost_utils.sync_global_devices("scores added")
        self._manager.reload()

    def settle(self, wait: bool = False) -> bool:
        """Look whether the checkpoint being written is complete, or wait until it is.

        Returns:
            False if it failed. That was said, and what it left behind is deleted.
        """
        if self._writing is None or (self._manager.is_saving_in_progress() and not wait):
            return True
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError, RuntimeError) as error:  # whatever the file system or tensorstore has to say
            self._failed(error)
            return False
        step, self._writing = self._writing, None
        self._delete_torn()
        if jax.process_index() == 0:
            add_checksums(step_folder(self._manager, step), ITEMS)
        return True

    def _failed(self, error: Exception) -> None:
        step, self._writing = self._writing, None
        self._delete_torn()
        self._manager.reload()  # it had crossed out what the new one was to replace
        kept = f"that of step {self.newest} is intact" if self.newest is not None else "there is none yet"
        say(f"checkpoint of step {step} could not be written ({kept}): {_brief(error)}")

    def _delete_torn(self) -> None:
        # Also those before: orbax's threads may have gone on writing for a while.
        if jax.process_index() == 0:
            for left in Path(self._manager.directory).glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(left, ignore_errors=True)

    def restore(self) -> TrainState:
        """Read the newest checkpoint, of which there must be one, for the next step; `validations` become its own.

        Raises:
            ValueError: it was written by a run of another model, data or recipe, with other groups of images for
                BatchNorm, or by another version of pimjax; or it is damaged.
        """
        directory, step = self._manager.directory, self.newest
        if step is None:
            raise ValueError(f"{directory}: no complete checkpoint")
        check_checksums(step_folder(self._manager, step))
        config = stored_config(self._manager, step)
        try:
            progress = self._manager.restore(step, args=json_item("progress"))["progress"]
        except KeyError:
            raise ValueError(
                f"{directory}: written by another version of pimjax, which cannot be resumed; give this run another "
                "--config.workdir, or start it from that one's weights with --config.train.init"
            ) from None
        check_same_run(config, self._config, directory)
        self._check_same_groups(progress)
        shapes = self._partition.stored_shapes(self._shapes)
        used, rest = _items(shapes)
        arguments = ocp.args.Composite(
            variables=ocp.args.StandardRestore(used), optimizer=ocp.args.StandardRestore(rest)
        )
        items = self._manager.restore(step, args=arguments)
        used, rest = (renamed_tree(dict(items[name]), PARAMETERS) for name in ("variables", "optimizer"))
        rest = renamed(rest, STATE)
        if "params" in rest:  # beside the average, which is what the model uses
            rest["ema_params"] = used["params"]
        state = TrainState(**(used | rest))
        self.validations = list(progress["validations"])
        if not self.was_validated(step) and (added := self._manager.metrics(step)):
            self.validations.append({"step": step, **added})
        return self._partition.from_stored(state)

    def best_variables(self) -> tuple[int, dict[str, Any]]:
        """Return the best checkpoint's step and variables, on every device; the newest's if none was validated.

        Raises:
            ValueError: there is no complete checkpoint, or it is damaged.
        """
        shapes = self._partition.stored_shapes(self._shapes)
        used = _stored_names({"params": shapes.params, "batch_stats": shapes.batch_stats})
        if (step := self.best) is None:
            raise ValueError(f"{self._manager.directory}: no complete checkpoint")
        check_checksums(step_folder(self._manager, step))
        arguments = ocp.args.Composite(variables=ocp.args.StandardRestore(used))
        return step, renamed_tree(self._manager.restore(step, args=arguments)["variables"], PARAMETERS)

    def _circumstances(self) -> dict[str, Any]:
        train, devices = self._config.train, len(self._partition.devices)
        parts = 1 if train.sync_batch_norm else devices * train.grad_accum_steps
        return {
            "images_per_statistic": self._config.data.batch_size // parts,
            "devices": devices,
            "processes": self._partition.processes,
        }

    def _check_same_groups(self, progress: dict[str, Any]) -> None:
        there, here = (side["images_per_statistic"] for side in (progress, self._circumstances()))
        if there != here:
            parts = self._config.data.batch_size / there / len(self._partition.devices)
            even = parts >= 1 and parts % 1 == 0
            way = f"use config.train.grad_accum_steps = {parts:.0f}" if even else "use as many devices"
            raise ValueError(
                f"{self._manager.directory}: each BatchNorm statistic of this run is of {there} images "
                f"({progress['devices']} devices), here it would be of {here}, which is another computation: {way}, or "
                "start a new workdir from it with --config.train.init (config.train.sync_batch_norm does not depend on "
                "devices)"
            )


def _items(state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state as the items "variables" and "optimizer"."""
    rest = {name: getattr(state, name) for name in ("step", "rng", "opt_state", "loss_ema")}
    used = {"params": state.params, "batch_stats": state.batch_stats}
    if state.ema_params is not None:
        used["params"], rest["params"] = state.ema_params, state.params
    return _stored_names(used), _stored_names(renamed(rest, inverse(STATE)))


def _stored_names(tree: Any) -> Any:
    return renamed_tree(tree, inverse(PARAMETERS))


def _brief(error: Exception) -> str:
    """Return the end of a long message, where the operating system's reason stands."""
    text = " ".join(str(error).split())
    return text if len(text) < 200 else f"… {text[-160:]}"


def check_same_run(stored: Config, wanted: Config, directory: Any) -> None:
    """Raise ValueError, naming the keys, if a run of one configuration cannot go on as the other says."""
    # How a run is computed, how long it lasts and how often it looks up may change on resuming; what it computes may
    # not. Parts and devices are compared by what they mean to BatchNorm.
    free = {"workdir", "data.num_workers", "data.max_unreadable", "profile.steps"}
    free |= {f"train.{name}_every" for name in ("validate", "log", "checkpoint")}
    free |= {
        f"train.{name}" for name in ("init", "mapping", "remat", "shard_optimizer", "grad_accum_steps", "keep_last")
    }
    free |= {f"train.{name}" for name in ("keep_best", "bad_step", "spike", "wandb")}
    if wanted.optimizer.schedule == "constant":
        free.add("train.num_steps")
    old, new = flatten(stored), flatten(wanted)
    changed = [key for key in old if old[key] != new[key] and key not in free]
    if changed:
        listing = ", ".join(f"{key} (there {old[key]!r}, now {new[key]!r})" for key in changed)
        raise ValueError(
            f"{directory}: holds checkpoints of another configuration: {listing}; "
            "give this run another --config.workdir, or restore those values to resume"
        )
