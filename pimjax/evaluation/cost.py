"""What a network costs: parameters, operations, and, of a run, seconds and memory."""

import platform
from typing import Any

import jax
import numpy as np

from pimjax.config.networks import COMPARED
from pimjax.files import Row
from pimjax.inference.compared import network_inputs
from pimjax.inference.localizer import Localizer
from pimjax.models.factory import create_model
from pimjax.models.preprocessing import preprocessing_of

SIDE = 512  # pixels; of the photo whose operations are counted


def network_cost(localizer: Localizer) -> Row:
    """Return {"parameters", "operations"}: numbers that are trained, and operations for a photo of 512².

    A multiplication and an addition are two, as XLA counts them before it compiles. A network that scales photos to a
    size of its own is counted at that.
    """
    config, preprocessing = localizer.card.model, localizer.card.preprocessing
    model: Any = create_model(config)
    side = SIDE if preprocessing.get("resize_mode") == "crop" else preprocessing.get("image_size", SIDE)
    inputs: dict[str, Any] = {"images": np.zeros((1, side, side, 3), np.float32)}
    if config.architecture in COMPARED:
        inputs = network_inputs(np.zeros((SIDE, SIDE, 3), np.uint8), b"", preprocessing_of(config))
    variables = jax.eval_shape(lambda key: model.init(key, **inputs), jax.random.key(0))
    traced = jax.jit(lambda variables, inputs: model.apply(variables, **inputs)).trace(variables, inputs)
    counted: Any = traced.lower(lowering_platforms=("tpu",)).cost_analysis()  # without a CPU's algorithms
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return {"parameters": parameters, "operations": float(counted["flops"])}


def machine() -> str:
    """Return what runs here, in words."""
    return f"{jax.local_devices()[0].device_kind}, {platform.machine()}"
