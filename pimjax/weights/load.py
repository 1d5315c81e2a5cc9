"""A model from any path: a run, a native directory, a file."""

import os
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pimjax.config.load import read_config
from pimjax.config.networks import COMPARED, CATNetConfig, ManTraNetConfig
from pimjax.models.preprocessing import preprocessing_of
from pimjax.weights.bundled import weights_path
from pimjax.weights.card import ModelCard, card_of_run
from pimjax.weights.formats import Stored, is_native, read_stored
from pimjax.weights.integrity import check_values, damage
from pimjax.weights.keras_file import checkpoint_index
from pimjax.weights.names.keras import is_port
from pimjax.weights.names.pim import from_arrays, to_torch
from pimjax.weights.released import parts_of, read_parts, recognize
from pimjax.weights.runs import load_variables
from pimjax.weights.unpickle import WeightsFileError


def read_model(
    path: str | os.PathLike, config_file: str | os.PathLike | None = None, network: str = ""
) -> tuple[dict[str, np.ndarray], ModelCard]:
    """Read a model: its arrays by released PyTorch name, and its card.

    Args:
        path: a run's directory (its best checkpoint is taken), a native directory, `.safetensors`, `.pth` or `.npz`;
            or "pim-small", the model that pimjax brings along.
        config_file: a file with `get_config()`, such as those under configs/, for weights that bring no card. Without
            it they are taken for those of the compared network that their names tell, else for the published PIM.
        network: the name of a compared network, where its weights cannot be recognized.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: it cannot be used (`WeightsFileError`), or was written by another version of pimjax.
    """
    path = checkpoint_index(weights_path(path))
    if not path.exists():
        raise FileNotFoundError(f"{path}: no checkpoint there; give a run's directory, or what pimjax convert wrote")
    if network := network or (parts_of(path) if path.is_dir() and not is_native(path) else ""):
        return _compared(read_parts(network, path), network, path)
    if path.is_dir() and not is_native(path):
        stored = _read_run(path)
    else:
        stored = read_stored(path)
    if config_file is None:
        if stored.card is None and (network := recognize(stored.arrays) or ""):
            return _compared(stored.arrays, network, path)
        return stored.arrays, stored.card or ModelCard()
    if stored.card is not None:
        raise ValueError(f"{path}: says itself of which configuration it is; leave --config out")
    return stored.arrays, card_of_run(read_config(config_file))


def _compared(arrays: dict[str, np.ndarray], network: str, path: Path) -> tuple[dict[str, np.ndarray], ModelCard]:
    """Return released arrays with the card of their network."""
    if network not in COMPARED:
        raise ValueError(f"{network!r}: no such network; there are {', '.join(COMPARED)}")
    model = COMPARED[network]()
    if network == "cat_net" and not any(name.endswith("layer1.0.conv1.weight") for name in arrays):
        model = CATNetConfig(dct_only=True)
    if network == "mantra_net":
        model = ManTraNetConfig(variant=_variant(arrays, path), port=is_port(arrays))
    return arrays, ModelCard(model, preprocessing_of(model).to_json())


def _variant(arrays: dict[str, np.ndarray], path: Path) -> int:
    """Return the number of ManTra-Net's file, by its name; its arrays do not tell all of them apart."""
    if found := re.search(r"Ptrain([0-4])", path.name):
        return int(found[1])
    regular = next((array for name, array in arrays.items() if name.endswith("regular_kernel")), np.empty(4))
    if regular.shape[-1] != 4:
        raise ValueError(
            f"{path}: ManTra-Net's file 0 or 1, and its arrays do not tell which; call it ManTraNet_Ptrain1.h5"
        )
    return 4


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
    """Read a model as the variables {"params", "batch_stats"} of `create_model(card.model)`, and its card.

    They are numpy arrays; `path` and errors are those of `read_model`.
    """
    arrays, card = read_model(path)
    variables = from_arrays(arrays, card.model, path)
    # Copied: a mapped file could change or end under a model in use.
    return jax.tree.map(np.array, {name: variables[name] for name in ("params", "batch_stats")}), card
