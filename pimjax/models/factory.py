"""Which network a configuration, or a name, means."""

from typing import Any

import flax.linen as nn

from pimjax.config import NetworkConfig
from pimjax.config.schema import NETWORKS
from pimjax.models.deeplabv3 import DeepLabV3
from pimjax.models.fcn import FCN
from pimjax.models.layers import Execution
from pimjax.models.pim import PIM
from pimjax.models.unet import UNet
from pimjax.models.vit import ViT

MODULES = {"pim": PIM, "fcn": FCN, "deeplabv3": DeepLabV3, "unet": UNet, "vit": ViT}


def create_model(network: str | NetworkConfig, execution: Execution = Execution(), **fields: Any) -> nn.Module:  # noqa: B008
    """Return a network; all have the call and the output of `PIM`.

    Args:
        network: its configuration, or its name, a key of `MODULES`.
        execution: how it is computed.
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
    return MODULES[network.architecture](network, execution)
