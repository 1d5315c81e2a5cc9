"""A run's checkpoints as orbax holds them: opening them, their checksums, and reading a model out of one.

orbax's files have no checksums of the numbers in them; "checksums.json" beside them does.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from pimjax.aliases import PARAMETERS, inverse, renamed_tree
from pimjax.config import Config
from pimjax.config.load import from_dict
from pimjax.files import write_text
from pimjax.terminal import say
from pimjax.weights.integrity import compare_checksums, file_checksums
from pimjax.weights.names.pim import variable_shapes
from pimjax.weights.unpickle import WeightsFileError

FOLDER = "checkpoints"
ITEMS = ("variables", "optimizer", "config", "progress")
CHECKSUMS = "checksums.json"


def _f1(metrics: dict[str, float]) -> float:
    return metrics["f1"]


def open_manager(workdir: str | Path, last: int = 1, best: int = 1, read_only: bool = False) -> ocp.CheckpointManager:
    """Open the checkpoints in `workdir` with orbax; the `last` newest are kept, and the `best` by validation F1."""
    good = preservation_policy.BestN(get_metric_fn=_f1, n=best, keep_checkpoints_without_metrics=False)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.AnyPreservationPolicy([preservation_policy.LatestN(last), good]),
        best_fn=_f1,
        step_prefix="step",
        read_only=read_only,
    )
    return ocp.CheckpointManager(Path(workdir).resolve() / FOLDER, item_names=ITEMS, options=options)


def load_variables(directory: str | Path) -> tuple[dict[str, Any], Config]:
    """Read the best checkpoint's variables, as numpy arrays {"params", "batch_stats"}, and its run's configuration.

    Where none was validated, the newest. `directory` is a run's directory or the "checkpoints" in it.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: it was written by another version of pimjax, or is damaged.
    """
    workdir = Path(directory).parent if Path(directory).name == FOLDER else Path(directory)
    if not (workdir / FOLDER).is_dir():
        raise FileNotFoundError(
            f"{directory}: no checkpoint there; give a run's directory, as in --checkpoint runs/demo"
        )
    with open_manager(workdir, read_only=True) as manager:
        step = manager.best_step()
        if step is None and (step := manager.latest_step()) is None:
            raise FileNotFoundError(f"{directory}: its run has not written a complete checkpoint yet")
        check_checksums(step_folder(manager, step))
        config = stored_config(manager, step)
        # Onto one device of this machine: those they were saved from need not exist here.
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), variable_shapes(config.model)
        )
        items = manager.restore(
            step, args=ocp.args.Composite(variables=ocp.args.StandardRestore(renamed_tree(like, inverse(PARAMETERS))))
        )
    variables = renamed_tree(items["variables"], PARAMETERS)
    return jax.tree.map(np.asarray, variables), config


def step_folder(manager: ocp.CheckpointManager, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return Path(manager.directory) / f"step_{step}"


def json_item(name: str) -> ocp.args.Composite:
    """Return the request for an item of a checkpoint that is JSON."""
    return ocp.args.Composite(**{name: ocp.args.JsonRestore()})


def stored_config(manager: ocp.CheckpointManager, step: int) -> Config:
    """Return the configuration of the run that wrote a checkpoint; ValueError if it was another pimjax's."""
    try:
        return from_dict(Config, manager.restore(step, args=json_item("config"))["config"])
    except ValueError as error:
        raise ValueError(f"{manager.directory}: {error}; it was written by another version of pimjax") from None


def add_checksums(folder: Path, items: Collection[str]) -> None:
    """Write the checksums of a complete checkpoint's files, of those `items`, beside them.

    What fails, as on a full disk, is said and leaves a checkpoint that is read without being compared.
    """
    if not folder.is_dir():
        return
    try:
        found = {name: each for name, each in file_checksums(folder).items() if name.partition("/")[0] in items}
        write_text(folder / CHECKSUMS, json.dumps(found, indent=1))
    except (OSError, ValueError) as error:
        say(f"{folder.name} is complete, but has no checksums: {error}")


def check_checksums(folder: Path) -> None:
    """Raise WeightsFileError for a checkpoint that is damaged; one of an older pimjax has no checksums."""
    remedy = f"remove {folder} to use an earlier checkpoint"
    try:
        stored = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        raise WeightsFileError(f"{folder / CHECKSUMS}: damaged; {remedy}")
    compare_checksums(stored, file_checksums(folder, stored), folder, remedy)
