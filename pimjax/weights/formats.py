"""Weights on disk: arrays by name from any usual file, and whole models with their cards, in three formats.

native          a directory: "weights" (an orbax checkpoint for each module) and the card, "model.json"
.safetensors    one file: arrays under the released PyTorch names, the card as metadata "pimjax"
.pth            one file for PyTorch: {"state_dict": …, "pimjax": the card}; of PIM alone

A compared network's arrays go by its own released names.

All have checksums that reading compares: `.pth` those of its container, the others those in the card.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import safetensors
import safetensors.numpy

from pimjax.aliases import PARAMETERS, inverse, renamed
from pimjax.config import ModelConfig
from pimjax.weights.card import ModelCard, card_from_json
from pimjax.weights.integrity import array_checksums, check_values, compare_checksums, damage, file_checksums
from pimjax.weights.keras_file import read_keras, read_tensorflow
from pimjax.weights.names.pim import from_arrays, to_torch
from pimjax.weights.torch_file import card_in, read_torch, state_dict_of, write_torch
from pimjax.weights.unpickle import WeightsFileError
from pimjax.weights.writing import as_system_errors, atomic_model, reserve

CARD, WEIGHTS = "model.json", "weights"
_LARGEST_CARD = 16 << 20  # bytes


class Stored(NamedTuple):
    """Hold a model as it lies on disk."""

    arrays: dict[str, np.ndarray]  # by released PyTorch name and in its layout; see `to_torch`
    card: ModelCard | None  # None for a file that pimjax did not write


def is_native(path: str | os.PathLike) -> bool:
    """Return whether `path` is a directory that `write_model` wrote."""
    return (Path(path) / CARD).is_file()


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return the named arrays of a file or native directory, in its order and under its names.

    Read are PyTorch's zip container and its older one (whatever the file's name), `.safetensors`, `.npz`, Keras' `.h5`
    (extra `keras`), a TensorFlow checkpoint's `.index` (where TensorFlow is installed) and pimjax's own directories. If
    a .pth's tensors lie in a nested dictionary such as "state_dict" or "model", that one is taken; its arrays are
    read-only views of the memory-mapped file, with the strides and the sharing they were saved with.
    bfloat16, which numpy does not have, becomes float32, exactly (a copy).

    Raises:
        WeightsFileError: the file is missing, damaged, none of these, or holds no arrays, or values that are not
            finite as float32; or a .pth names anything that is no tensor, container or number. Nothing in a file is
            ever executed.
    """
    return read_stored(path).arrays


def read_stored(path: str | os.PathLike) -> Stored:
    """Read named arrays as `read_arrays` does, with the model card where the file has one."""
    path = Path(path)
    if not (path.is_file() or path.is_dir()):
        raise WeightsFileError(f"{path}: no such file; correct the path")
    try:
        arrays, card = _reader(path)(path)
        arrays = {name: a.astype(np.float32) if a.dtype == ml_dtypes.bfloat16 else a for name, a in arrays.items()}
    except WeightsFileError:
        raise
    except OSError as error:
        raise WeightsFileError(f"{path}: cannot be read ({error}); correct the path or the permissions") from None
    except MemoryError:
        raise WeightsFileError(f"{path}: does not fit into memory; read it on a larger machine") from None
    except Exception as error:  # whatever a damaged file makes of the parsers of zip, pickle, npz, safetensors, orbax
        raise WeightsFileError(f"{path}: {damage(error)}; fetch or save it anew") from error
    if not arrays:
        raise WeightsFileError(f"{path}: holds no arrays; give a checkpoint")
    check_values(arrays, path)
    return Stored(arrays, card)


def _reader(path: Path) -> Callable[[Path], Stored]:
    if path.is_dir():
        return _read_native
    by_suffix = {".safetensors": _read_safetensors, ".npz": _read_npz, ".index": _read_tensorflow}
    by_suffix |= dict.fromkeys((".h5", ".hdf5"), _read_keras)
    return by_suffix.get(path.suffix, _read_pth)


def _read_native(path: Path) -> Stored:
    if not is_native(path):
        raise WeightsFileError(f"{path}: a directory without {CARD}; give one that pimjax convert wrote, or a file")
    if (path / CARD).stat().st_size > _LARGEST_CARD:
        raise WeightsFileError(
            f"{path / CARD}: has over {_LARGEST_CARD} bytes, no model card has; convert the model anew"
        )
    card, checksums = card_from_json((path / CARD).read_text(encoding="utf-8"), str(path))
    compare_checksums(checksums, file_checksums(path, checksums), path)
    variables: dict[str, dict[str, Any]] = {}
    with ocp.PyTreeCheckpointer() as checkpointer:
        for module in sorted(entry for entry in (path.resolve() / WEIGHTS).iterdir() if entry.is_dir()):
            tree = checkpointer.metadata(module).item_metadata.tree
            as_numpy = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            for collection, values in checkpointer.restore(module, restore_args=as_numpy).items():
                variables.setdefault(collection, {})[PARAMETERS.get(module.name, module.name)] = values
    return Stored(to_torch(variables, card.model), card)


def _read_safetensors(path: Path) -> Stored:
    # Read, not mapped: the arrays are copies, and the mapped pages would lie in memory beside them.
    with safetensors.safe_open(path, framework="np", backend="pread") as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    if "pimjax" not in metadata:
        return Stored(arrays, None)
    card, checksums = card_from_json(metadata["pimjax"], str(path))
    if checksums:
        compare_checksums(checksums, array_checksums(arrays), path)
    return Stored(arrays, card)


def _read_npz(path: Path) -> Stored:
    with np.load(path, allow_pickle=False) as file:
        if sum(entry.file_size for entry in file.zip.infolist()) > 100 * path.stat().st_size:
            raise WeightsFileError(f"{path}: unpacks to over a hundred times its size, no weights do")
        arrays = {name: file[name] for name in file.files}
    if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise WeightsFileError(f"{path}: {odd[0]} is no array; is this a .npz?")
    return Stored(arrays, None)


def _read_keras(path: Path) -> Stored:
    return Stored(read_keras(path), None)


def _read_tensorflow(path: Path) -> Stored:
    return Stored(read_tensorflow(path), None)


def _read_pth(path: Path) -> Stored:
    content = read_torch(path)
    card = card_in(content)
    return Stored(state_dict_of(content, path), card_from_json(card, str(path))[0] if card else None)


def write_model(
    path: str | os.PathLike,
    arrays: Mapping[str, np.ndarray],
    card: ModelCard,
    check: Callable[[Path], None] = lambda written: None,
) -> None:
    """Write a model; the format follows from the suffix: `.pth` or `.pt`, `.safetensors`, none for a native directory.

    It appears under its name only when complete; a killed run leaves nothing but a hidden temporary beside it.

    Args:
        path: what to write. An existing file is replaced if pimjax wrote it and it is whole; a directory never is.
        arrays: by released PyTorch name, as of `read_arrays` or `pimjax.to_torch`.
        card: of the model.
        check: is called with the complete file or directory before it takes the place of `path`; what it raises
            leaves an older `path` as it was.

    Raises:
        ValueError: the suffix is another one or does not suit the architecture; something of that name exists that is
            not pimjax's to replace (for a directory: anything); or `arrays` are not those of `card.model`.
        OSError: it cannot be written, as on a full disk; the message names `path` and what to do.
    """
    path = Path(path)
    writers = {".pth": _write_pth, ".pt": _write_pth, ".safetensors": _write_safetensors, "": _write_native}
    if path.suffix not in writers:
        raise ValueError(f"{path}: give it the suffix .pth or .safetensors, or none for pimjax's own directory")
    if path.suffix in (".pth", ".pt") and not isinstance(card.model, ModelConfig):
        raise ValueError(
            f"{path}: a PyTorch file can hold a PIM only, as there is no PyTorch model for this "
            f"{card.model.architecture!r}; give it the suffix .safetensors, or none for pimjax's own directory"
        )
    if path.is_dir() or (os.path.lexists(path) and not path.suffix):
        kind = "directory" if path.is_dir() else "file"
        raise ValueError(f"{path}: exists and is a {kind}; remove it, or choose another name")
    from_arrays(arrays, card.model)  # raises before anything is written
    with atomic_model(path, _is_ours(path)) as temporary:
        with as_system_errors():
            writers[path.suffix](temporary, arrays, card)
        check(temporary)


def _is_ours(path: Path) -> bool:
    """Return whether a file is there with pimjax's card in it, and whole: no record need know it."""
    try:
        return path.is_file() and not path.is_symlink() and read_stored(path).card is not None
    except WeightsFileError:
        return False


def _write_native(path: Path, arrays: Mapping[str, np.ndarray], card: ModelCard) -> None:
    variables = {name: renamed(tree, inverse(PARAMETERS)) for name, tree in from_arrays(arrays, card.model).items()}
    modules = {module for collection in variables.values() for module in collection}
    reserve(path, [sum(a.nbytes for a in jax.tree.leaves([c.get(m) for c in variables.values()])) for m in modules])
    with ocp.PyTreeCheckpointer() as checkpointer:
        # One by one, because orbax copies whatever it is about to write.
        for module in sorted(modules):
            tree = {name: collection[module] for name, collection in variables.items() if module in collection}
            checkpointer.save(path.resolve() / WEIGHTS / module, tree)
    (path / CARD).write_text(card.to_json(file_checksums(path)) + "\n", encoding="utf-8")


def _write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], card: ModelCard) -> None:
    # The library reads memory as it lies: strided arrays must be laid out first.
    dense = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    path.touch()
    mode = path.stat().st_mode  # the library's files are for their owner alone
    metadata = {"format": "pt", "pimjax": card.to_json(array_checksums(dense))}
    safetensors.numpy.save_file(dense, path, metadata=metadata)
    path.chmod(mode)


def _write_pth(path: Path, arrays: Mapping[str, np.ndarray], card: ModelCard) -> None:
    write_torch(path, arrays, card.to_json())
