"""Weights under the released PyTorch model's names and layouts, to and from Flax variables.

Those of the compared networks are in `pimjax.weights.names.released`.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from pimjax.config import ModelConfig, NetworkConfig
from pimjax.config.networks import COMPARED
from pimjax.models.factory import create_model
from pimjax.models.released import fields_of
from pimjax.models.released import variable_shapes as compared_shapes
from pimjax.models.windows import relative_position_index
from pimjax.weights.names import released
from pimjax.weights.wrappers import common_start, misnamed, unwrap

# Flax path → PyTorch name, applied in order; what no rule mentions is called the same on both sides.
_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^encoder/", "backbone_swin/"),
        (r"^masked_encoder/", "backbone_recon/"),
        (r"^mask_decoder/", "decode_head/"),
        (r"^boundary_decoder/", "boundary_head/"),
        (r"^image_decoder/", "recon_head/"),
        (r"^local(\d)/central$", r"local_conv_enhancement/weights_cd\1"),
        (r"^local(\d)/radial$", r"local_conv_enhancement/weights_rd\1"),
        (r"^local(\d)/weigh/", r"local_conv_enhancement\1/"),
        (r"^fusion(\d)/", r"feature_fusion\1/"),
        (r"^(\w+)(\d)/gate/fc/", r"\1/weight_learn\2/fc/"),
        (r"^(\w+)(\d)/norm_in/", r"\1/norm\2/"),
        (r"^(\w+)(\d)/norm_out/", r"\1/norm_all\2/"),
        (r"^(\w+)(\d)/depthwise/", r"\1/conv_sep_all\2/conv1/"),
        (r"^(\w+)(\d)/pointwise/", r"\1/conv_sep_all\2/pointwise/"),
        (r"/patch_embed/", "/patch_embed/proj/"),
        (r"/patch_norm/", "/patch_embed/norm/"),
        (r"/stage(\d)_block(\d+)/", r"/layers/\1/blocks/\2/"),
        (r"/merge(\d)/", r"/layers/\1/downsample/"),
        (r"/attention/", "/attn/"),
        (r"/(fc[12])/", r"/mlp/\1/"),
        (r"/pool(\d+)/", r"/psp_modules/\1/1/"),
        (r"/lateral(\d)/", r"/lateral_convs/\1/"),
        (r"/fpn(\d)/", r"/fpn_convs/\1/"),
        (r"/classifier/", "/conv_seg/"),
        (r"/(kernel|scale)$", "/weight"),
        (r"/mean$", "/running_mean"),
        (r"/var$", "/running_var"),
        (r"/relative_position_bias$", "/relative_position_bias_table"),
    )
]


def torch_name(path: tuple[str, ...]) -> str:
    """Return the released model's name of the Flax variable at `path` (without its collection)."""
    name = "/".join(path)
    for pattern, replacement in _RULES:
        name = pattern.sub(replacement, name)
    return name.replace("/", ".")


def _to_stored_layout(path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:  # convolution: height, width, in, out → out, in, height, width
        return array.transpose(3, 2, 0, 1)
    return array.T if path[-1] == "kernel" else array  # dense: in, out → out, in


def _to_flax_layout(path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.T if path[-1] == "kernel" else array


def variable_shapes(config: NetworkConfig) -> dict[str, Any]:
    """Return the variables of `create_model(config)` as `jax.ShapeDtypeStruct`s: {"params": …, "batch_stats": …}."""
    if config.architecture in COMPARED:
        return compared_shapes(config.architecture, **fields_of(config))
    return _variable_shapes(type(config), tuple(vars(config).items()))


@functools.cache  # tracing the model takes a second, and a conversion asks five times
def _variable_shapes(kind: type[NetworkConfig], fields: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    return jax.eval_shape(create_model(kind(**dict(fields))).init, jax.random.key(0), image)


def _derived(
    shapes: dict[tuple[str, ...], Any], config: NetworkConfig
) -> tuple[dict[str, tuple], dict[str, np.ndarray]]:
    """Return the released names that hold no weights: BatchNorm counters (→ Flax path) and index tables (→ value)."""
    counters = {
        torch_name(path[1:]).replace("running_mean", "num_batches_tracked"): (*path[1:-1], "count")
        for path in shapes
        if path[0] == "batch_stats" and path[-1] == "mean"
    }
    tables = {
        torch_name(path[1:]).replace("bias_table", "index"): relative_position_index(config.window_size)
        for path in shapes
        if path[-1] == "relative_position_bias"
    }
    return counters, tables


def unwrap_names(mapping: Mapping[str, Any], config: NetworkConfig, where: Any) -> dict[str, Any]:
    """Return arrays under the names that a model has by itself; see `pimjax.weights.wrappers.unwrap`."""
    heads = {torch_name(path[1:]).partition(".")[0] for path in flatten_dict(variable_shapes(config))}
    return unwrap(mapping, heads, where)


def from_arrays(mapping: Mapping[str, Any], config: NetworkConfig, where: Any = "these arrays") -> dict[str, Any]:
    """Make Flax variables, as numpy arrays, from arrays named and laid out as the released PyTorch checkpoint.

    The match is strict both ways: every name is used once and
    every parameter is set. What wrappers put before all names ("module.", "_orig_mod.", "model.", …) is taken off.
    Arrays are views of those given, or float32 copies of other floating-point widths.
    `where` says in errors what they are.

    Returns:
        {"params", "batch_stats", "num_batches_tracked"}. The last collection only keeps PyTorch's BatchNorm counters.

    Raises:
        ValueError: a name is missing, left over or twice there, or an array has the wrong shape; all are listed, or
            the prefix is named that hides the names.
    """
    if config.architecture in COMPARED:
        return released.from_arrays(config.architecture, mapping, where, fields_of(config))
    given = unwrap_names(mapping, config, where)
    shapes: dict[Any, Any] = dict(flatten_dict(variable_shapes(config)))
    counters, tables = _derived(shapes, config)
    wanted = {torch_name(path[1:]): path for path in shapes}
    expected = wanted.keys() | counters.keys() | tables.keys()
    if cause := misnamed(mapping, given, expected):
        raise ValueError(f"{where}: {cause}")

    variables, misfits = {}, []
    for name in sorted(expected & given.keys()):
        array = np.asarray(given[name])
        if name in counters:
            fits = array.shape == ()
            variables[("num_batches_tracked", *counters[name])] = array.astype(np.int64)
        elif name in tables:
            fits = np.array_equal(array, tables[name])
        else:
            path = wanted[name]
            fits = _to_stored_layout(path, np.empty(shapes[path].shape, bool)).shape == array.shape
            if fits:
                variables[path] = np.asarray(_to_flax_layout(path, array), np.float32)
        if not fits:
            misfits.append(f"{name} {list(array.shape)}")
    problems = [
        _listing("missing", sorted(expected - given.keys())),
        _listing("left over", sorted(given.keys() - expected)),
        _listing("wrong shape or content", misfits),
    ]
    if any(problems):
        raise ValueError(
            f"{where}: not the weights of this model configuration{common_start(mapping, given)}; give the one they "
            "belong to (pimjax convert: --config):\n  " + "\n  ".join(filter(None, problems))
        )
    return unflatten_dict(variables)


def to_torch(variables: Mapping[str, Any], config: NetworkConfig | None = None) -> dict[str, np.ndarray]:
    """Invert `pimjax.from_torch`: {released name: array in PyTorch's layout}, float32 and int64 numpy arrays.

    BatchNorm counters are 0 where `variables` has no "num_batches_tracked".

    Raises:
        ValueError: `variables` are not those of `create_model(config)`; the differing paths are listed.
    """
    config = config or ModelConfig()
    if config.architecture in COMPARED:
        return released.to_arrays(config.architecture, variables, fields_of(config))
    shapes: dict[Any, Any] = dict(flatten_dict(variable_shapes(config)))
    counters, tables = _derived(shapes, config)
    flat = flatten_dict({key: variables[key] for key in ("params", "batch_stats") if key in variables})
    if odd := shapes.keys() ^ flat.keys():
        raise ValueError(
            "not the variables of this model configuration: "
            + _listing("differing", ["/".join(p) for p in sorted(odd)])
        )
    counts = flatten_dict(variables.get("num_batches_tracked", {}))
    arrays = {torch_name(path[1:]): _to_stored_layout(path, np.asarray(array)) for path, array in flat.items()}
    arrays |= {name: np.asarray(counts.get(path, 0), np.int64) for name, path in counters.items()}
    return arrays | tables


def _listing(problem: str, names: list[str], most: int = 20) -> str:
    if not names:
        return ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} {problem}: {', '.join(names[:most])}{more}"
