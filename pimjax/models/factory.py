"""Which network a configuration, or a name, means."""

from typing import Any, cast

import flax.linen as nn

from pimjax.config import ModelConfig, NetworkConfig
from pimjax.config.networks import COMPARED, NETWORKS
from pimjax.models.layers import Execution
from pimjax.models.pim import PIM
from pimjax.models.released import fields_of, released_model


def create_model(network: str | NetworkConfig, execution: Execution = Execution(), **fields: Any) -> nn.Module:  # noqa: B008
    """Return a network by its configuration or its name, with released or published values as defaults.

    The compared networks, keys of `pimjax.models.released.RELEASED`, are called with what their class says, and give
    the outputs of their own.

    Args:
        network: its configuration, or its name.
        execution: how it is computed; of the compared networks, `dtype` and `remat`.
        fields: with a name: what of its configuration is not the default, such as `embed_dim=32`.

    Raises:
        ValueError: there is no network of that name, or it has no such field, or no such value of it.
    """
    if isinstance(network, str):
        if network not in NETWORKS:
            raise ValueError(f"{network!r}: no such network; there are {', '.join(NETWORKS)}")
        config = NETWORKS[network]()
        for name, value in fields.items():
            setattr(config, name, value)
        network = config
    if network.architecture in COMPARED:
        if execution != Execution(execution.dtype, remat=execution.remat):
            raise ValueError(f"{network.architecture}: of `execution`, it knows dtype and remat alone")
        return released_model(network.architecture, execution, **fields_of(network))
    return PIM(cast(ModelConfig, network), execution)
