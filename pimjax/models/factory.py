"""From a configuration to its network."""

import flax.linen as nn

from pimjax.config import ModelConfig
from pimjax.models.deeplabv3 import DeepLabV3
from pimjax.models.fcn import FCN
from pimjax.models.layers import Execution
from pimjax.models.pim import PIM
from pimjax.models.unet import UNet
from pimjax.models.vit import ViT


def create_model(config: ModelConfig, execution: Execution = Execution()) -> nn.Module:  # noqa: B008
    """Return the network of `config.architecture`; all have the call and the output of `PIM`.

    Raises:
        KeyError: it is none of `pimjax.config.ARCHITECTURES`; `check_model` says so first.
    """
    networks = {"pim": PIM, "fcn": FCN, "unet": UNet, "deeplabv3": DeepLabV3, "vit": ViT}
    return networks[config.architecture](config, execution)
