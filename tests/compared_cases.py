"""Recordings of the compared networks' originals, with weights by formula: what to compute, and how to compare."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from reference.models import by_formula

from pimjax.models import create_model
from pimjax.training.compared_losses import MaskTargets
from pimjax.weights import from_released

FOLDER = Path(__file__).parent / "reference/models"


class Recording(NamedTuple):
    """One recorded file: of which network and fields, weights and input of which seed, and the bar for errors."""

    network: str
    file: str
    seed: int
    fields: dict[str, Any] = {}  # noqa: RUF012
    bar: float = 1e-4  # ten times the original's own gap between float32 and float64, 1e-4 at least
    batch: int = 2

    @property
    def arrays(self):
        return np.load(FOLDER / self.network / f"{self.file}.npz")

    @property
    def size(self):
        return tuple(int(n) for n in self.file.rsplit("_", 1)[-1].split("x"))

    def inputs(self):
        values = by_formula.inputs(self.network, self.seed, self.batch, *self.size)
        return {"images": values.pop("image"), **values}

    def weights(self):
        dct_only = {"dct_only": True} if self.fields.get("dct_only") else {}
        return by_formula.weights(self.network, self.seed, **dct_only)

    def variables(self):
        found = from_released(self.network, self.weights(), **self.fields)
        return {name: found[name] for name in ("params", "batch_stats")}

    def targets(self):
        t = by_formula.target(self.network, self.seed, self.batch, *self.size)
        if self.network == "pscc_net":
            return MaskTargets(t["mask1"], labels=t["labels"], pyramid=tuple(t[f"mask{k}"] for k in (1, 2, 3, 4)))
        if self.network == "mfcn":
            return MaskTargets(t["surface"], t["edge"])
        return MaskTargets(t["mask"], t.get("edge"), t.get("labels"))


@cache
def keys(network):
    """The original's state: name → shape."""
    table = json.loads((FOLDER / network / "keys.json").read_text(encoding="utf-8"))
    return {name: tuple(shape) for name, (shape, _) in table.items()}


def computed(recording):
    """Outputs and inner maps by the names of the recording."""
    model = create_model(recording.network, **recording.fields)
    apply = jax.jit(lambda variables, inputs: model.apply(variables, **inputs, mutable=["features"]))
    output, state = apply(recording.variables(), recording.inputs())
    maps = {
        "_".join(path).removesuffix("_map"): value[0] for path, value in flatten_dict(state.get("features", {})).items()
    }
    return {name: value for name, value in output._asdict().items() if value is not None} | maps


# Names of recordings that our maps have otherwise.
ALIASES = {
    ("trufor", "anomaly_low"): "decode_head",
    ("trufor", "confidence_low"): "decode_head_conf",
    ("vit_b_16", "class_token_out"): "class_token",
    ("vit_b_16", "tokens_bilinear"): "tokens",
    **{("pscc_net", f"z{k}"): f"SegNet_getmask{k}_z" for k in (1, 2, 3, 4)},
}
# What another model, or another way to resize positions, gives.
ELSEWHERE = ("dct_only_logits", "_eps1e-5", "torchvision", "timm", "without_class_token", "position_bilinear")


def difference(recording, name, maps):
    """The largest error of a recorded map, which may hold some of its channels, tokens, rows or images."""
    recorded = recording.arrays[name]
    network = recording.network
    ours = maps.get(ALIASES.get((network, name), name))
    if ours is None:
        ours = next(value for key, value in sorted(maps.items(), key=lambda item: len(item[0])) if key.endswith(name))
    ours = np.asarray(ours, np.float64)
    if network == "vit_b_16":
        step = {"patches": np.s_[:, ::2, ::2, ::16], "class_token": np.s_[:], "class_logits": np.s_[:]}
        if name == "tokens_bilinear":
            ours = ours[:, 1:, ::8].reshape(len(ours), 6, 10, -1)  # on its grid, without the class token
        elif name.startswith(("layer", "tokens")):
            ours = ours[:, ::8, ::4]
        else:
            ours = ours[step.get(name, np.s_[:])]
    elif network == "mvss_net":
        ours = ours[..., : recorded.shape[-1]]
    elif ours.ndim == recorded.ndim and ours.shape[-1] != recorded.shape[-1]:
        ours = ours[..., :: ours.shape[-1] // recorded.shape[-1]]
    ours = ours[: len(recorded)]
    if network == "pscc_net" and name == "layer1":
        ours = ours[:, ::4, ::4]
    assert ours.shape == recorded.shape, name
    return float(np.abs(ours - recorded).max())


def wants(recording):
    """The recorded names that this model gives."""
    names = [name for name in recording.arrays.files if not any(end in name for end in ELSEWHERE)]
    if recording.fields.get("dct_only"):
        return [name for name in names if name.startswith("dct")]
    return names


def as_float(tree, dtype):
    """Arrays of numbers in a dtype."""
    return jax.tree.map(lambda a: jnp.asarray(a, dtype) if np.asarray(a).dtype.kind == "f" else a, tree)
