"""From one format of weights to another, checked by reading back what was written."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pimjax.weights.card import ModelCard
from pimjax.weights.files import read_arrays, write_model


def convert(arrays: dict[str, np.ndarray], card: ModelCard, target: str | os.PathLike) -> int:
    """Writes a model as `target`, in the format of its suffix (see `write_model`), and compares what lies there then.

    Args:
        arrays: by released PyTorch name, with or without "module."; emptied, so that a large file need not lie in
            memory twice.
        card: of the model.
        target: `.pth`, `.safetensors`, or a directory.

    Returns:
        how many numbers the model's parameters and BatchNorm statistics have.

    Raises:
        ValueError: the arrays are not those of `card.model`, or `target` cannot be written (see `write_model`).
        OSError: what was written reads back differently; or the disk is full.
    """
    for name in [name for name in arrays if name.startswith("module.")]:
        if (bare := name.removeprefix("module.")) not in arrays:
            arrays[bare] = arrays.pop(name)
    size = sum(array.nbytes for array in arrays.values())
    with tqdm(total=3 * size, unit="B", unit_scale=True, desc="reading", disable=None) as bar:
        before = _digests(arrays, bar)
        bar.set_description("writing")
        write_model(target, arrays, card)
        bar.update(size)
        numbers = sum(array.size for array in arrays.values() if array.dtype.kind == "f")
        arrays.clear()
        bar.set_description("checking")
        after = _digests(read_arrays(target), bar)
    if before != after:
        odd = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        raise OSError(f"{Path(target)}: {len(odd)} arrays read back differently, such as {odd[0]}; is the disk sound?")
    return numbers


def _digests(arrays: Mapping[str, np.ndarray], bar: tqdm) -> dict[str, str]:
    digests = {}
    for name, array in arrays.items():
        # Every format keeps real numbers as float32, as the model does.
        dense = np.asarray(array, np.float32 if array.dtype.kind == "f" else None, order="C")
        digests[name] = f"{dense.dtype} {dense.shape} {hashlib.sha256(dense.view()).hexdigest()}"
        bar.update(array.nbytes)
    return digests
