"""The compared networks' arrays under their released PyTorch names and layouts, to and from Flax variables.

Modules are named as in the original (`pimjax.models.torch_layers`), so one rule serves all: "kernel" and "scale" are
called "weight" there, running statistics "running_mean" and "running_var", and kernels have their axes turned.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from pimjax.models.mvss_net import fixed_filters
from pimjax.models.released import variable_shapes
from pimjax.weights.names.keras import from_port, is_port, without_counters
from pimjax.weights.wrappers import unwrap

LEAVES = {"kernel": "weight", "transposed_kernel": "weight", "scale": "weight", "mean": "running_mean"} | {
    "var": "running_var"
}
TENSORFLOW = ("mantra_net", "span", "hp_fcn", "h_lstm")  # names and layouts are Flax's, paths joined by "/"
COUNTER = "num_batches_tracked"
Path = tuple[str, ...]


def released_name(path: Path, name: str = "") -> str:
    """Return the original's name of the variable at `path` (without its collection), in the network called `name`."""
    if name in TENSORFLOW:
        return "/".join(path)
    return ".".join((*path[:-1], LEAVES.get(path[-1], path[-1])))


def to_released_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    """Turn the axes of an array as Flax lays it into the original's: views."""
    if leaf == "transposed_kernel":
        return array.transpose(2, 3, 0, 1)  # [in, out, kh, kw]
    if leaf == "kernel":
        return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T  # [out, in, kh, kw], [out, in]
    return array


def to_flax_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    """Invert `to_released_layout`."""
    if leaf == "transposed_kernel":
        return array.transpose(2, 3, 0, 1)
    if leaf == "kernel":
        return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
    return array


def from_arrays(name: str, arrays: Mapping[str, Any], where: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables from arrays by their released names; see `pimjax.weights.released.from_released`."""
    wanted, unused = _wanted(name, fields), unused_entries(name, fields)
    heads = {entry.partition(".")[0] for entry in wanted}
    if name in TENSORFLOW:
        given = from_port(arrays) if is_port(arrays) else without_counters(arrays)
    else:
        given = unwrap(arrays, heads, where)
    variables: dict[Path, np.ndarray] = {}
    missing, misfits = [], []
    for entry, (path, shape) in wanted.items():
        if entry not in given:
            missing.append(entry)
            continue
        array = np.asarray(given[entry])
        array = array if name in TENSORFLOW else to_flax_layout(path[-1], array)
        if array.shape != shape:
            misfits.append(f"{entry} {list(np.shape(given[entry]))}")
        variables[path] = np.asarray(array, np.float32)
    counters = {(COUNTER, *path[1:-1], "count"): entry for entry, path in _counters(wanted).items()}
    for path, entry in counters.items():  # which older files lack
        variables[path] = np.asarray(given.get(entry, 0), np.int64)
    known = {*wanted, *counters.values()}
    left = [entry for entry in given if entry not in known and not any(fits(entry) for fits in unused)]
    problems = [
        f"{len(entries)} {what}: {', '.join(entries[:20])}{' …' if len(entries) > 20 else ''}"
        for what, entries in (("missing", missing), ("left over", left), ("of the wrong shape", misfits))
        if entries
    ]
    if problems:
        given_lines = "\n  ".join(problems)
        raise ValueError(f"{where}: not the weights of {name}; give the file that belongs to it\n  {given_lines}")
    return {"params": {}, "batch_stats": {}, COUNTER: {}} | unflatten_dict(variables)


def to_arrays(name: str, variables: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return arrays by their released names; see `pimjax.weights.released.to_released`."""
    wanted = _wanted(name, fields)
    given = flatten_dict({key: dict(variables.get(key, {})) for key in ("params", "batch_stats", COUNTER)})
    paths = {path for path, _ in wanted.values()}
    if odd := sorted("/".join(path) for path in paths ^ {path for path in given if path[0] != COUNTER}):
        raise ValueError(f"not the variables of {name}: {len(odd)} differ, such as {odd[0]}")
    turned = to_released_layout if name not in TENSORFLOW else lambda _, array: array
    out = {
        entry: np.ascontiguousarray(turned(path[-1], np.asarray(given[path]))) for entry, (path, _) in wanted.items()
    }
    for entry, path in _counters(wanted).items():
        out[entry] = np.asarray(given.get((COUNTER, *path[1:-1], "count"), 0), np.int64)
    return out | constants(name, fields)


def _wanted(name: str, fields: Mapping[str, Any]) -> dict[str, tuple[Path, tuple[int, ...]]]:
    shapes: dict[Any, Any] = dict(flatten_dict(variable_shapes(name, **fields)))
    return {released_name(path[1:], name): (path, leaf.shape) for path, leaf in shapes.items()}


def _counters(wanted: Mapping[str, tuple[Path, Any]]) -> dict[str, Path]:
    """Return the names of PyTorch's BatchNorm counters, each with the path of its layer's running mean."""
    ends = "running_mean"
    return {entry.removesuffix(ends) + COUNTER: path for entry, (path, _) in wanted.items() if entry.endswith(ends)}


def unused_entries(name: str, fields: Mapping[str, Any]) -> list[Callable[[str], bool]]:
    """Return what tells the entries of released files that the network never uses."""
    exact = constants(name, fields)
    starts = {
        "fcn_resnet50": ("aux_classifier.",),
        "deeplabv3_resnet50": ("aux_classifier.",),
    }.get(name, ())
    return [exact.__contains__, lambda entry: entry.startswith(starts)]


def constants(name: str, fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return entries that the original's state has beside its weights: fixed filters, and layers that nothing calls."""
    if name != "mvss_net":
        return {}
    trunks, width = ("model", "noise_extractor.model"), fields.get("embed_dim", 64)
    leaves = (("weight", (1000, 32 * width)), ("bias", (1000,)))
    dead = {f"{trunk}.fc.{leaf}": shape for trunk in trunks for leaf, shape in leaves}
    return fixed_filters(width) | {entry: np.zeros(shape, np.float32) for entry, shape in dead.items()}
