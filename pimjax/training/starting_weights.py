"""What a training run starts from: a checkpoint of the same network, or the parts of another that fit."""

import os
from typing import Any

import jax
import jax.numpy as jnp

from pimjax.config import ModelConfig, NetworkConfig
from pimjax.config.networks import COMPARED
from pimjax.training.distributed import print_once
from pimjax.weights.backbones import start_from
from pimjax.weights.load import read_model
from pimjax.weights.names.pim import from_arrays, to_torch, unwrap_names
from pimjax.weights.pretrained import init_partial, initialization_table


def initial_variables(path: str | os.PathLike, fresh: dict[str, Any], config: NetworkConfig) -> dict[str, Any]:
    """Return what a run starts from: the weights at `path`, in the structure of `fresh`, the variables they replace.

    A whole PIM (a run, a native directory, a converted or released checkpoint) must match `config` name by name, and so
    must whatever another architecture starts from; but `double_compression` may be added. A UPerNet or a Swin
    Transformer fills the parts of a PIM it fits, and a table of what was taken is printed; see `init_from_upernet`. An
    ImageNet backbone starts a compared network, as several files do one after another, joined by commas; see
    `pimjax.weights.backbones`.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: it cannot be used, or is not the weights of this configuration.
    """
    if config.architecture in COMPARED and not os.path.exists(path) and "," in str(path):
        for part in str(path).split(","):  # such as TruFor's two encoders, and its fingerprint
            fresh = initial_variables(part, fresh, config)
        return fresh
    arrays, card = read_model(path)
    # torchvision's segmentation files tell 21 classes apart: their classifier starts afresh.
    classes = len(arrays["classifier.4.weight"]) if "classifier.4.weight" in arrays else 2
    if config.architecture in COMPARED and (card.model.architecture != config.architecture or classes != 2):
        started = start_from(fresh, arrays, config, path)
        left = (
            f"; {len(started.unused)} of its arrays fit nothing, such as {started.unused[0]}" if started.unused else ""
        )
        print_once(f"starting from {path}: {started.taken} arrays of {config.architecture} set{left}")
        return jax.tree.map(jnp.array, started.variables)
    whole = any("backbone_swin" in name.split(".") for name in arrays)
    if whole or not isinstance(config, ModelConfig):
        pim = isinstance(config, ModelConfig) and isinstance(card.model, ModelConfig)
        # What a model learns without traces of double compression is a start for one that sees them.
        if pim and config.double_compression and not card.model.double_compression:
            added = {name: value for name, value in to_torch(fresh, config).items() if name.endswith(".traces.weight")}
            arrays = {**unwrap_names(arrays, config, path), **added}
        variables = from_arrays(arrays, config, path)
        print_once(f"starting from the weights in {path}")
        # What the arrays' shapes do not show.
        for key in ("raster_mask", "pool_scales") if pim else ():
            if (there := getattr(card.model, key)) != (here := getattr(config, key)):
                print_once(f"note: they were trained with config.model.{key} = {there}, this run has {here}")
    else:
        variables, rows = init_partial(fresh, arrays, config, str(path))
        print_once(f"starting from {path}:\n\n{initialization_table(rows)}\n")
    return jax.tree.map(jnp.array, {name: variables[name] for name in fresh})
