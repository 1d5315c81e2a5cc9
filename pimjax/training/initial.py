"""Where a model comes from: a run, a native directory, a file; and what a training run starts from."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pimjax.config import ModelConfig
from pimjax.config_files import read_config
from pimjax.training.checkpoint import load_variables
from pimjax.training.processes import tell
from pimjax.weights.card import ModelCard, card_of_run
from pimjax.weights.convert import match_torch, to_torch, unwrap_names
from pimjax.weights.files import Stored, is_native, read_stored
from pimjax.weights.integrity import check_values, damage
from pimjax.weights.pretrained import fill, initialization_table
from pimjax.weights.shipped import weights_path
from pimjax.weights.unpickle import WeightsFileError


def read_model(path: str | os.PathLike, config_file: str | os.PathLike | None = None) -> Stored:
    """Arrays by released PyTorch name, and the model's card.

    Args:
        path: a run's directory (its best checkpoint is taken), a native directory, `.safetensors`, `.pth` or `.npz`;
            or "pim-small", the model that pimjax brings along.
        config_file: a file with `get_config()`, such as those under configs/, for weights that bring no card. Without
            it they are taken for the published model.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: it cannot be used (`WeightsFileError`), or was written by another version of pimjax.
    """
    path = weights_path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no checkpoint there; give a run's directory, or what pimjax convert wrote")
    if path.is_dir() and not is_native(path):
        stored = _read_run(path)
    else:
        stored = read_stored(path)
    if config_file is None:
        return Stored(stored.arrays, stored.card or ModelCard())
    if stored.card is not None:
        raise ValueError(f"{path}: says itself of which configuration it is; leave --config out")
    return Stored(stored.arrays, card_of_run(read_config(config_file)))


def _read_run(path: Path) -> Stored:
    try:
        variables, config = load_variables(path)
        stored = Stored(to_torch(variables, config.model), card_of_run(config))
    except (FileNotFoundError, ValueError):
        raise
    except MemoryError:
        raise WeightsFileError(f"{path}: does not fit into memory; read it on a larger machine") from None
    except Exception as error:  # whatever a damaged checkpoint makes of orbax and tensorstore
        raise WeightsFileError(f"{path}: {damage(error)}; use an earlier checkpoint") from error
    check_values(stored.arrays, path)
    return stored


def load_model(path: str | os.PathLike) -> tuple[dict[str, Any], ModelCard]:
    """As `read_model`, but the variables {"params", "batch_stats"} of `build_network(card.model)`, numpy arrays."""
    arrays, card = read_model(path)
    variables = match_torch(arrays, card.model, path)
    # Copied: a mapped file could change or end under a model in use.
    return jax.tree.map(np.array, {name: variables[name] for name in ("params", "batch_stats")}), card


def initial_variables(path: str | os.PathLike, fresh: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """What a run starts from: the weights at `path`, in the structure of `fresh`, the variables they replace.

    A whole PIM (a run, a native directory, a converted or released checkpoint) must match `config` name by name, and so
    must whatever another architecture starts from; but `jpeg_traces` may be added. A UPerNet or a Swin Transformer
    fills the parts of a PIM it fits, and a table of what was taken is printed; see `init_from_upernet`.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: it cannot be used, or is not the weights of this configuration.
    """
    arrays, card = read_model(path)
    whole = any("backbone_swin" in name.split(".") for name in arrays)
    if whole or config.architecture != "pim":
        if config.jpeg_traces and not card.model.jpeg_traces:  # what a model learns without them is a start for them
            added = {name: value for name, value in to_torch(fresh, config).items() if name.endswith(".traces.weight")}
            arrays = {**unwrap_names(arrays, config, path), **added}
        variables = match_torch(arrays, config, path)
        tell(f"starting from the weights in {path}")
        # What the arrays' shapes do not show.
        for key in ("raster_mask", "pool_bins"):
            if (there := getattr(card.model, key)) != (here := getattr(config, key)):
                tell(f"note: they were trained with config.model.{key} = {there}, this run has {here}")
    else:
        variables, rows = fill(fresh, arrays, config, str(path))
        tell(f"starting from {path}:\n\n{initialization_table(rows)}\n")
    return jax.tree.map(jnp.array, {name: variables[name] for name in fresh})
