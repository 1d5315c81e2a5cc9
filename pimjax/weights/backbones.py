"""Public ImageNet weights as a start of the compared networks: whose names become which."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from pimjax.config import NetworkConfig
from pimjax.models.released import fields_of
from pimjax.weights.names import released
from pimjax.weights.names.keras import without_counters
from pimjax.weights.wrappers import unwrap

Rename = Callable[[str], tuple[str, ...]]


def _below(*prefixes: str) -> Rename:
    return lambda name: tuple(prefix + name for prefix in prefixes)


def _segmentation(name: str) -> tuple[str, ...]:
    """A backbone of its own, or a network of other classes, whose names begin with the part that they are of."""
    return (name if name.startswith(("backbone.", "classifier.")) else f"backbone.{name}",)


def _mfcn(name: str) -> tuple[str, ...]:
    """VGG-16-BN's two hidden layers are MFCN's first two convolutions behind the trunk."""
    return (name.replace("classifier.0.", "fc6.").replace("classifier.3.", "fc7."),)


def _vit(name: str) -> tuple[str, ...]:
    """Older files of torchvision's have other names for the two layers of an MLP."""
    return (name.replace("mlp.linear_1.", "mlp.0.").replace("mlp.linear_2.", "mlp.3."),)


def _trufor(name: str) -> tuple[str, ...]:
    """SegFormer's blocks serve both encoders; Noiseprint++'s layers have numbers for names."""
    if name[0].isdigit():
        return (f"dncnn.{name}",)
    return f"backbone.{name}", f"backbone.extra_{name}"


# torchvision's ResNet-50, VGG-16-BN and ViT-B/16, HRNet-W18-small-v2, SegFormer's mit_b4 and mit_b2, and ManTra-Net's
# extractor.
STARTS: dict[str, Rename] = {
    "fcn_resnet50": _segmentation,
    "deeplabv3_resnet50": _segmentation,
    "mvss_net": _below("model.", "noise_extractor.model."),
    "mfcn": _mfcn,
    "vit_b_16": _vit,
    "pscc_net": _below("FENet."),
    "evp": _below("backbone."),
    "trufor": _trufor,
    "span": _below(""),
}


class Started(NamedTuple):
    """Hold variables, and how much of a file they took."""

    variables: dict[str, Any]
    taken: int  # arrays of the network that were set
    unused: tuple[str, ...]  # names in the file that fit nothing


def _fits(shape: tuple[int, ...], ours: np.ndarray, name: str) -> bool:
    """Return whether an array takes a place; VGG's dense layers are read as convolutions of the same numbers."""
    dense = name in ("fc6.weight", "fc7.weight") and len(shape) == 2 and shape[0] == len(ours)
    return shape == ours.shape or (dense and int(np.prod(shape)) == ours.size)


def start_from(fresh: Mapping[str, Any], arrays: Mapping[str, Any], config: NetworkConfig, where: Any) -> Started:
    """Return `fresh` variables of a compared network with ImageNet weights in their place.

    What fits no name or shape, such as a classifier, is left out.

    Raises:
        ValueError: no public start is known of the network, or nothing of the file fits.
    """
    name, fields = config.architecture, fields_of(config)
    if name not in STARTS:
        raise ValueError(f"{where}: not the weights of {name}, of which no other start is known")
    ours = released.to_arrays(name, fresh, fields)
    taken, unused = 0, []
    given = without_counters(arrays) if name in released.TENSORFLOW else unwrap(arrays, (), where)
    for theirs, array in given.items():
        targets = [target for target in STARTS[name](theirs) if target in ours]
        fitting = [target for target in targets if np.ndim(array) and _fits(np.shape(array), ours[target], target)]
        for target in fitting:
            ours[target] = np.asarray(array, np.float32).reshape(ours[target].shape)
        taken += len(fitting)
        if not fitting and not theirs.endswith(released.COUNTER):
            unused.append(theirs)
    if not taken:
        raise ValueError(f"{where}: nothing in it fits {name}; give its own weights or an ImageNet backbone's")
    found = released.from_arrays(name, ours, where, fields)
    return Started({key: found[key] for key in fresh}, taken, tuple(unused))
