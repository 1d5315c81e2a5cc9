"""Variables of a PIM from what people have: released checkpoints, a UPerNet or a Swin Transformer trained elsewhere."""

import math
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from pimjax.config import ModelConfig
from pimjax.weights.formats import Stored, read_stored
from pimjax.weights.integrity import check_values
from pimjax.weights.names.pim import from_arrays, to_torch
from pimjax.weights.wrappers import misnamed, unwrap

Weights: TypeAlias = str | os.PathLike | Mapping[str, Any]


def from_torch(weights: Weights, config: ModelConfig | None = None) -> dict[str, Any]:
    """Make Flax variables of a whole PIM, from a file or from arrays named and laid out as the released checkpoint.

    The match is strict both ways: every name is used once and every parameter is set. What wrappers put before all
    names ("module.", "_orig_mod.", "model.", …) is taken off. Floating-point arrays of any width become float32.

    Args:
        weights: a path, as of `pimjax.weights.formats.read_arrays`, or a mapping name → numpy array (of PyTorch
            tensors: `{name: tensor.numpy() for …}`).
        config: the model the weights belong to; by default the one that the file's card names, or the published one.

    Returns:
        {"params", "batch_stats", "num_batches_tracked"}, to be passed to `PIM(config).apply`. The last collection
        only keeps PyTorch's BatchNorm counters for `to_torch`.

    Raises:
        ValueError: the file cannot be used, or values are not finite (`WeightsFileError`); or a name is missing, left
            over or twice there, or an array has the wrong shape; all are listed.
    """
    stored, where = _stored(weights)
    model = config or (stored.card.model if stored.card else ModelConfig())
    # Copied: the arrays may be views of a file, and counters must stay int64 whatever JAX's default.
    variables = from_arrays(stored.arrays, model, where)
    counters = variables.pop("num_batches_tracked", {})
    return jax.tree.map(jnp.array, variables) | {"num_batches_tracked": counters}


def _stored(weights: Weights) -> tuple[Stored, str]:
    """Return what is given or lies in a file, and how errors call it."""
    if isinstance(weights, Mapping):
        check_values(weights, "these arrays", variances=False)
        return Stored(dict(weights), None), "these arrays"
    return read_stored(weights), os.fspath(weights)


class Row(NamedTuple):
    """What became of one array of a pretrained checkpoint."""

    source: str  # its name there
    target: str  # released name of the PIM parameter, "" where there is none
    taken: bool
    why: str


class Initialized(NamedTuple):
    """Variables, and how each array of the checkpoint was used."""

    variables: dict[str, Any]
    table: list[Row]


ENCODERS = ("backbone_swin", "backbone_recon")
DECODERS = ("decode_head", "boundary_head", "recon_head")
# Parts of a PIM that a part of another network initializes, tried in order; "" stands for names without a prefix.
UPERNET = {"backbone": ENCODERS, "decode_head": DECODERS}
SWIN = {"encoder": ENCODERS, "": ENCODERS}
# What follows from the architecture or the training is no weight.
DERIVED = ("relative_position_index", "attn_mask", "num_batches_tracked")


def init_from_upernet(variables: Mapping[str, Any], weights: Weights, config: ModelConfig | None = None) -> Initialized:
    """Initialize as published: a pretrained UPerNet fills both encoders and all decoders where shapes match.

    "backbone.*" goes to the plain and the masked encoder, "decode_head.*" to the three decoders. A checkpoint of a bare
    Swin Transformer ("layers.*", "patch_embed.*", also under "encoder.") fills the encoders alone. A table of relative
    position biases of another window is interpolated. Everything else keeps its value.

    Args:
        variables: of `PIM(config)`, such as freshly initialized ones.
        weights: a path, as of `pimjax.weights.formats.read_arrays`, or a mapping name → array-like.
        config: of the model; the published one by default.

    Returns:
        the variables, and a row for every array of the checkpoint and every place it could go.

    Raises:
        ValueError: the file cannot be used, or values are not finite (`WeightsFileError`), or nothing in it fits.
    """
    stored, where = _stored(weights)
    return init_partial(variables, stored.arrays, config or ModelConfig(), where)


def init_partial(
    variables: Mapping[str, Any], arrays: Mapping[str, Any], config: ModelConfig, where: str
) -> Initialized:
    """Initialize as `init_from_upernet`, with arrays already read; `where` says in errors what they are."""
    ours = to_torch(variables, config)
    given = {name: np.asarray(array) for name, array in unwrap(arrays, (), where).items()}
    if any(f"layers.{len(config.depths) - 1}.downsample." in name for name in given):
        given = _merging_at_the_end(given)
    parts = UPERNET if any(name.startswith("backbone.") for name in given) else SWIN
    rows = [row for name, array in given.items() for row in _place(name, array, parts, ours)]
    if not any(row.taken for row in rows):
        cause = misnamed(arrays, given, _fillable(ours))
        raise ValueError(
            f"{where}: {cause}"
            if cause
            else f"{where}: nothing of this checkpoint fits this PIM; its first names: {', '.join(list(given)[:5])}. "
            "A UPerNet with a Swin backbone (backbone.*, decode_head.*) or a Swin Transformer (layers.*) is needed\n"
            + initialization_table(rows)
        )
    reached = {row.target for row in rows if row.taken}
    for name in ours:
        if name.split(".")[0] in ENCODERS + DECODERS and name not in reached and not name.endswith(DERIVED):
            rows.append(Row("", name, False, "keeps its value: the checkpoint gives none"))
    filled = from_arrays(ours, config)
    counters = filled.pop("num_batches_tracked", {})
    filled = jax.tree.map(jnp.array, filled)
    return Initialized(filled | ({"num_batches_tracked": counters} if "num_batches_tracked" in variables else {}), rows)


def _fillable(ours: Mapping[str, np.ndarray]) -> set[str]:
    """Return the names under which a UPerNet or a Swin Transformer holds what fills `ours`."""
    targets = {(name.partition(".")[0], name.partition(".")[2]) for name in ours}
    return {
        f"{part}.{rest}" if part else rest
        for parts in (UPERNET, SWIN)
        for part, wholes in parts.items()
        for whole, rest in targets
        if whole in wholes
    }


def _merging_at_the_end(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename timm's Swin Transformers from 0.9 on: they begin a stage with the merging that ends ours before."""

    def moved(name: str) -> str:
        return re.sub(r"^(.*layers\.)(\d)(\.downsample\.)", lambda m: f"{m[1]}{int(m[2]) - 1}{m[3]}", name)

    return {moved(name): array for name, array in given.items()}


def _place(
    name: str, array: np.ndarray, parts: Mapping[str, tuple[str, ...]], ours: dict[str, np.ndarray]
) -> list[Row]:
    """Put one array wherever it belongs in `ours`, and return where."""
    if name.endswith(DERIVED):
        return [Row(name, "", False, "derived, not a weight")]
    part = next((part for part in parts if not part or name.startswith(f"{part}.")), None)
    if part is None:
        return [Row(name, "", False, "a part that PIM does not have")]
    rows = []
    for whole in parts[part]:
        target = f"{whole}.{name.removeprefix(f'{part}.') if part else name}"
        if target not in ours:
            rows.append(Row(name, target, False, "no such parameter in this PIM"))
            continue
        shape, why = ours[target].shape, ""
        value = array
        of_windows = target.endswith("relative_position_bias_table") and math.isqrt(len(array)) ** 2 == len(array) > 0
        if of_windows and array.shape != shape and array.shape[1:] == shape[1:]:
            value, why = _interpolate(array, shape[0]), f"interpolated from {len(array)} to {shape[0]} positions"
        if value.shape != shape:
            rows.append(Row(name, target, False, f"shape {list(array.shape)} there, {list(shape)} here"))
            continue
        ours[target] = value.astype(np.float32)
        rows.append(Row(name, target, True, why))
    return rows


def _interpolate(table: np.ndarray, positions: int) -> np.ndarray:
    """Interpolate a table [(2w−1)², heads] of relative position biases for another window: bicubic, to (2w′−1)²."""
    old, new = round(len(table) ** 0.5), round(positions**0.5)
    grid = table.astype(np.float32).reshape(old, old, -1)
    import cv2  # here: nothing else of weights needs it

    resized = cv2.resize(grid, (new, new), interpolation=cv2.INTER_CUBIC)
    return resized.reshape(positions, -1)


def initialization_table(rows: list[Row]) -> str:
    """Return the rows in Markdown, those of one part and one fate together, with the reason and an example."""
    groups: dict[tuple[str, str, bool, str], list[Row]] = {}
    for row in rows:
        part = row.source.split(".")[0] or "–"
        groups.setdefault((part, row.target.split(".")[0], row.taken, row.why), []).append(row)
    lines = ["| from | to | arrays | taken | why | such as |", "|---|---|---|---|---|---|"]
    for (source, target, taken, why), members in groups.items():
        fate, example = "yes" if taken else "no", members[0].source or members[0].target
        lines.append(f"| {source} | {target or '–'} | {len(members)} | {fate} | {why or '–'} | {example} |")
    return "\n".join(lines)
