"""How a photograph becomes the input of a compared network: facts of each, as its model card stores them."""

import dataclasses
from typing import Any

from pimjax.config import NetworkConfig
from pimjax.config.networks import HLSTMConfig
from pimjax.normalization import IMAGENET_MEAN, IMAGENET_STD

MEAN = tuple(round(float(value), 6) for value in IMAGENET_MEAN)
STD = tuple(round(float(value), 6) for value in IMAGENET_STD)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Say what is done to 8-bit pixels: order, scale, normalization and size."""

    channels: str = "RGB"  # or "BGR"
    shift: float = 0.0  # gray levels
    scale: float = 255.0  # gray levels
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)  # then taken off, per channel in that order
    std: tuple[float, ...] = (1.0, 1.0, 1.0)  # then divided by
    side: int = 0  # of the square that the photo is resized to; 0: it keeps its size
    antialias: bool = False  # when it is resized
    multiple: int = 1  # sides are continued at the bottom and right to a multiple of this, by `shift`
    largest: int = 255  # gray levels above this one are taken for it
    resampling: bool = False  # features of the 8-bit pixels, of `pimjax.models.resampling`, come along
    jpeg: bool = False  # luma's coefficients and steps come along, as the file stores them

    def to_json(self) -> dict[str, Any]:
        """Return it for a model card."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


IMAGENET = Preprocessing(mean=MEAN, std=STD)
PREPROCESSING = {
    "fcn_resnet50": IMAGENET,
    "deeplabv3_resnet50": IMAGENET,
    "unet": IMAGENET,
    "vit_b_16": IMAGENET,
    "mfcn": IMAGENET,
    "rru_net": Preprocessing(),
    "mvss_net": Preprocessing("BGR", mean=MEAN, std=STD, side=512),  # the release's: RGB's constants, BGR's channels
    "pscc_net": Preprocessing(),
    "cat_net": Preprocessing(shift=127.5, scale=127.5, multiple=8, jpeg=True),
    "evp": Preprocessing(mean=MEAN, std=STD, side=256, antialias=True),
    "trufor": Preprocessing(scale=256.0),
    "mantra_net": Preprocessing(shift=127.5, scale=127.5),
    "span": Preprocessing(shift=127.5, scale=127.5),
    "hp_fcn": Preprocessing(),
    "h_lstm": Preprocessing(scale=127.0, side=256, largest=127, resampling=True),  # as its published data are stored
}


def preprocessing_of(model: NetworkConfig) -> Preprocessing:
    """Return how a photo becomes the input of a compared network; KeyError for PIM and Swin, which have their own."""
    how = PREPROCESSING[model.architecture]
    if isinstance(model, HLSTMConfig) and not model.saturate:
        return dataclasses.replace(how, largest=255)
    return how
