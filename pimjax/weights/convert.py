"""From one format of weights to another, checked by reading back what was written."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from pimjax.terminal import warn
from pimjax.weights.card import ModelCard
from pimjax.weights.formats import read_arrays, write_model
from pimjax.weights.names.pim import from_arrays, to_torch
from pimjax.weights.unpickle import WeightsFileError


def convert(
    arrays: dict[str, np.ndarray],
    card: ModelCard,
    target: str | os.PathLike,
    source: str | os.PathLike = "these arrays",
) -> int:
    """Write a model as `target`, in the format of its suffix (see `write_model`), if it reads back equal.

    Args:
        arrays: by released PyTorch name, with or without "module."; emptied, so that a large file need not lie in
            memory twice. Real numbers become float32 and counters int64, as everywhere in pimjax.
        card: of the model.
        target: `.pth`, `.safetensors`, or a new directory.
        source: what errors call the arrays.

    Returns:
        how many parameters the model has (BatchNorm statistics not counted).

    Raises:
        ValueError: the arrays are not those of `card.model`, `target` is not pimjax's to replace (see `write_model`),
            or what was written reads back differently; an older `target` stays as it was.
        OSError: `target` cannot be written, as on a full disk; the same holds.
    """
    if rounded := [name for name, array in arrays.items() if array.dtype == np.float64]:
        warn(f"{len(rounded)} arrays of float64, such as {rounded[0]}, are rounded to float32")
    variables = from_arrays(arrays, card.model, source)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    canonical = to_torch(variables, card.model)
    del variables
    arrays.clear()
    size = sum(array.nbytes for array in canonical.values())
    with tqdm(total=3 * size, unit="B", unit_scale=True, desc="reading", disable=None) as bar:
        before = _digests(canonical, bar)

        def compare(written: Path) -> None:
            bar.update(size)
            bar.set_description("checking")
            canonical.clear()
            after = _digests(read_arrays(written), bar)
            if odd := sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)):
                raise WeightsFileError(
                    f"{target}: {len(odd)} arrays read back differently, such as {odd[0]}; is the disk sound?"
                )

        bar.set_description("writing")
        write_model(target, canonical, card, compare)
    return parameters


def _digests(arrays: Mapping[str, np.ndarray], bar: tqdm) -> dict[str, str]:
    digests = {}
    for name, array in arrays.items():
        dense = np.asarray(array, order="C")
        digests[name] = f"{dense.dtype} {dense.shape} {hashlib.sha256(dense.data).hexdigest()}"
        bar.update(array.nbytes)
    return digests
