"""Weights of Keras 2 (.h5) and of TensorFlow 1 (checkpoints), as arrays by name; nothing in a file is executed."""

from pathlib import Path
from typing import Any

import numpy as np

from pimjax.weights.unpickle import WeightsFileError

SLOTS = ("/Adam", "/Adam_1", "/Momentum")  # what optimizers keep beside a variable
COUNTERS = ("beta1_power", "beta2_power", "global_step")


def read_keras(path: Path) -> dict[str, np.ndarray]:
    """Read what Keras' `save_weights` wrote: arrays by the names in its `weight_names`, without ":0".

    Raises:
        WeightsFileError: h5py is not installed, or the file has no layers.
    """
    try:
        import h5py
    except ImportError:
        raise WeightsFileError(f"{path}: a file of Keras needs h5py; pip install 'pimjax[keras]'") from None
    with h5py.File(path, "r") as file:
        root: Any = file.get("model_weights", file)  # with `save`, the weights are a part
        if "layer_names" not in root.attrs:
            raise WeightsFileError(f"{path}: no weights of Keras in it; give what save_weights wrote")
        arrays = {}
        for layer in map(_text, root.attrs["layer_names"]):
            group = root[layer]
            for weight in map(_text, group.attrs.get("weight_names", ())):
                inner = weight.removesuffix(":0")
                name = inner if inner.startswith(f"{layer}/") else f"{layer}/{inner}"
                arrays[name] = np.asarray(group[weight])
    return arrays


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def checkpoint_index(path: Path) -> Path:
    """Return the .index file of a TensorFlow checkpoint called without its endings; any other path as it is."""
    index = path.with_name(f"{path.name}.index")
    return index if not path.exists() and index.exists() else path


def read_tensorflow(path: Path) -> dict[str, np.ndarray]:
    """Read a TensorFlow checkpoint by its .index file: arrays by name, without optimizers' slots and counters.

    Raises:
        WeightsFileError: TensorFlow is not installed.
    """
    try:
        import tensorflow
    except ImportError:
        raise WeightsFileError(f"{path}: a TensorFlow checkpoint needs TensorFlow; pip install tensorflow") from None
    reader = tensorflow.train.load_checkpoint(str(path).removesuffix(".index"))
    names = sorted(reader.get_variable_to_shape_map())
    return {name: reader.get_tensor(name) for name in names if not name.endswith(SLOTS) and name not in COUNTERS}
