"""The compared networks with released weights, by name, and what each is called with."""

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pimjax.config import NetworkConfig
from pimjax.models.layers import Execution


class Released(NamedTuple):
    """Say where a network lives and which arrays it is called with."""

    module: str  # below `pimjax.models`
    name: str  # of the class in it
    side: int = 64  # pixels, of the smallest square image that shows all of its parameters

    def load(self) -> type[nn.Module]:
        """Import the class."""
        return getattr(importlib.import_module(f"pimjax.models.{self.module}"), self.name)


RELEASED = {
    "fcn_resnet50": Released("segmentation", "FCNResNet50"),
    "deeplabv3_resnet50": Released("segmentation", "DeepLabV3ResNet50"),
    "vit_b_16": Released("vit_b_16", "ViTB16"),
    "unet": Released("segmentation", "UNet"),
    "mvss_net": Released("mvss_net", "MVSSNet"),
    "mfcn": Released("mfcn", "MFCN"),
    "rru_net": Released("rru_net", "RRUNet"),
    "pscc_net": Released("pscc_net", "PSCCNet"),
    "cat_net": Released("cat_net", "CATNet"),
    "evp": Released("evp", "EVP"),
    "trufor": Released("trufor", "TruFor"),
    "mantra_net": Released("mantra_net", "ManTraNet"),
    "span": Released("span", "SPAN"),
    "hp_fcn": Released("hp_fcn", "HPFCN"),
    "h_lstm": Released("h_lstm", "HLSTM", 256),
}


def released_model(name: str, execution: Execution = Execution(), **fields: Any) -> nn.Module:  # noqa: B008
    """Return a compared network with its released values as defaults; ValueError for a field that it has not.

    Of `execution` it knows `dtype`, of maps and products behind the first layer, and `remat`.
    """
    cls = RELEASED[name].load()
    known = [field for field in cls.__dataclass_fields__ if field not in ("parent", "name", "execution")]
    if odd := sorted(fields.keys() - set(known)):
        raise ValueError(f"{name}: no field {odd[0]!r}; there are {', '.join(known) or 'none'}")
    return cls(**fields, execution=execution)


def constraint_of(name: str) -> Callable[[Any], Any] | None:
    """Return what the parameters of a network go through after every update; None for most."""
    if name not in RELEASED:
        return None
    return getattr(importlib.import_module(f"pimjax.models.{RELEASED[name].module}"), "constrain", None)


def fields_of(config: NetworkConfig) -> dict[str, Any]:
    """Return the fields of a compared network that a section of the configuration gives, without its input's."""
    return {name: value for name, value in vars(config).items() if name not in ("architecture", "saturate")}


def variable_shapes(name: str, **fields: Any) -> dict[str, Any]:
    """Return the variables of a compared network as `jax.ShapeDtypeStruct`s: {"params": …, "batch_stats": …}."""
    known = ((field, tuple(value) if isinstance(value, list) else value) for field, value in fields.items())
    return _variable_shapes(name, tuple(known))


@functools.cache  # tracing a network takes seconds, and every conversion asks
def _variable_shapes(name: str, fields: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    model, side = released_model(name, **dict(fields)), RELEASED[name].side
    inputs = getattr(model, "example_inputs", image_alone)(side)
    init: Any = model.init
    shapes = jax.eval_shape(lambda key: init(key, **inputs), jax.random.key(0))
    return {collection: shapes.get(collection, {}) for collection in ("params", "batch_stats")}


def image_alone(side: int) -> dict[str, jax.Array]:
    """Return one black image, the only input of most networks."""
    return {"images": jnp.zeros((1, side, side, 3))}
