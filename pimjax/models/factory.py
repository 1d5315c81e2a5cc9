"""Which network a configuration, or a name, means."""

from typing import Any

import flax.linen as nn

from pimjax.config import NetworkConfig
from pimjax.config.networks import COMPARED
from pimjax.config.schema import NETWORKS
from pimjax.models.deeplabv3 import DeepLabV3
from pimjax.models.fcn import FCN
from pimjax.models.layers import Execution
from pimjax.models.pim import PIM
from pimjax.models.released import fields_of, released_model
from pimjax.models.unet import UNet
from pimjax.models.vit import ViT

MODULES = {"pim": PIM, "fcn": FCN, "deeplabv3": DeepLabV3, "unet_stride4": UNet, "vit": ViT}


def create_model(network: str | NetworkConfig, execution: Execution = Execution(), **fields: Any) -> nn.Module:  # noqa: B008
    """Return a network by its configuration or its name, with released or published values as defaults.

    Those of `MODULES` have the call and the output of `PIM`. The compared networks, keys of
    `pimjax.models.released.RELEASED`, are called with what their class says, and give the outputs of their own.

    Args:
        network: its configuration, or its name.
        execution: how it is computed; of the compared networks, which are computed as they come, the default alone.
        fields: with a name: what of its configuration is not the default, such as `embed_dim=32`.

    Raises:
        ValueError: there is no network of that name, or it has no such field, or no such value of it.
    """
    if isinstance(network, str):
        known = NETWORKS | COMPARED
        if network not in known:
            raise ValueError(f"{network!r}: no such network; there are {', '.join(known)}")
        config = known[network]()
        for name, value in fields.items():
            setattr(config, name, value)
        network = config
    if network.architecture in COMPARED:
        if execution != Execution():
            raise ValueError(f"{network.architecture}: computed in float32, as it comes, alone")
        return released_model(network.architecture, **fields_of(network))
    return MODULES[network.architecture](network, execution)
