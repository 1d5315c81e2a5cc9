"""Released weights of the compared networks: files of theirs, recognized by their names, to and from variables."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.config.networks import NETWORKS
from pimjax.models.released import RELEASED
from pimjax.weights.formats import read_arrays
from pimjax.weights.names import released
from pimjax.weights.names.keras import is_port, without_counters
from pimjax.weights.names.pim import from_arrays as from_pim
from pimjax.weights.names.pim import to_torch
from pimjax.weights.names.released import COUNTER
from pimjax.weights.torch_file import read_torch, state_dict_of
from pimjax.weights.unpickle import WeightsFileError
from pimjax.weights.wrappers import INSERTED, unwrap

# Entries that one network alone has, and under which name.
MARKS = {
    "rru_net": "down.conv.conv.0.weight",
    "mfcn": "surface.up16.weight",
    "mvss_net": "constrain_conv.kernel",
    "pscc_net": "SegNet.getmask1.gamma_s",
    "cat_net": "dc_layer0_dil.0.weight",
    "evp": "backbone.prompt_generator.shared_mlp1.weight",
    "trufor": "dncnn.0.weight",
    "unet": "inc.double_conv.0.weight",
    "vit_b_16": "encoder.layers.encoder_layer_0.ln_1.weight",
    "deeplabv3_resnet50": "classifier.0.convs.0.0.weight",
    "span": "pixel_attention_1/K_P",
    "mantra_net": "outlierTrans/kernel",
    "hp_fcn": "bilinear_kernel0",
    "h_lstm": "rnn/multi_rnn_cell/cell_0/basic_lstm_cell/kernel",
    "fcn_resnet50": "classifier.4.weight",  # DeepLab, which is asked before, has it too
}
# Networks that are released in several files, each with what it adds to the names in it.
PARTS = {
    "pscc_net": (("HRNet.pth", "FENet."), ("NLCDetection.pth", "SegNet."), ("DetectionHead.pth", "ClsNet.")),
    "evp": (("mit_b4.pth", "backbone."), ("prompt_epoch_*.pth", "")),
}
OF_PIM = ("pim", "swin")  # named as PIM's released model
PROMPT = {"prompt": "backbone.prompt_generator.", "decode_head": "decode_head."}  # in EVP's second file


def recognize(names: Mapping[str, Any]) -> str | None:
    """Return the compared network whose arrays these are by their names, whatever wrappers put before; None if none."""
    if is_port(names):
        return "mantra_net"
    plain = {".".join(part for part in name.split(".") if part not in INSERTED) for name in names}
    plain |= set(without_counters(names)) if any("/" in name for name in names) else set()
    for network, mark in MARKS.items():
        if any(name == mark or name.endswith(f".{mark}") for name in plain):
            return network
    return None


def from_released(name: str, weights: str | os.PathLike | Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the variables of `create_model(name, **fields)` from the original's weights.

    The match is strict both ways, but for entries that the network never uses, which may be missing.

    Args:
        name: of the network, a key of `pimjax.models.released.RELEASED`, "pim" or "swin", its encoder and one decoder.
        weights: a file that `pimjax.weights.formats.read_arrays` reads, a folder with the several files of PSCC-Net or
            EVP, or the arrays by name.
        fields: of the network, as of `create_model`.

    Returns:
        {"params", "batch_stats", "num_batches_tracked"}, numpy arrays, float32. The last collection only keeps
        PyTorch's BatchNorm counters for `to_released`.

    Raises:
        ValueError: there is no such network, the file cannot be used, or a name is missing, left over or of the wrong
            shape; all are listed.
    """
    if name in OF_PIM:
        config = dataclasses.replace(NETWORKS[name](), **fields)
        given = weights if isinstance(weights, Mapping) else read_arrays(weights)
        return {COUNTER: {}} | from_pim(given, config, "these arrays" if given is weights else weights)
    _require(name)
    if isinstance(weights, Mapping):
        return released.from_arrays(name, weights, "these arrays", fields)
    return released.from_arrays(name, read_parts(name, Path(weights)), weights, fields)


def to_released(name: str, variables: Mapping[str, Any], **fields: Any) -> dict[str, np.ndarray]:
    """Invert `from_released`: {the original's name: array in its layout}, float32 and int64.

    BatchNorm counters are 0 where `variables` has none; entries that the network never uses are as in a fresh original.

    Raises:
        ValueError: `variables` are not those of `create_model(name, **fields)`.
    """
    if name in OF_PIM:
        return to_torch(variables, dataclasses.replace(NETWORKS[name](), **fields))
    _require(name)
    return released.to_arrays(name, variables, fields)


def _require(name: str) -> None:
    if name not in RELEASED:
        raise ValueError(f"{name!r}: no such network; there are {', '.join((*OF_PIM, *RELEASED))}")


def parts_of(folder: Path) -> str:
    """Return the network whose several files a folder holds; "" if none."""
    for network, parts in PARTS.items():
        if all(next(folder.rglob(pattern), None) for pattern, _ in parts):
            return network
    return ""


def read_parts(name: str, path: Path) -> dict[str, np.ndarray]:
    """Read a file, or the several files of a network in a folder, as arrays under the network's names.

    Raises:
        WeightsFileError: a file is missing, more than one is of that name, or it cannot be used.
    """
    if not path.is_dir() or name not in PARTS:
        return read_arrays(path)
    arrays: dict[str, np.ndarray] = {}
    for pattern, prefix in PARTS[name]:
        files = sorted(path.rglob(pattern))
        if len(files) != 1:
            found = ", ".join(file.name for file in files) or "none"
            raise WeightsFileError(f"{path}: {name} needs one file {pattern} in it, there is {found}")
        arrays |= _part(files[0], prefix)
    return arrays


def _part(file: Path, prefix: str) -> dict[str, np.ndarray]:
    if not prefix:  # EVP's prompts and decoder
        content = read_torch(file)
        if not isinstance(content, dict) or PROMPT.keys() - content.keys():
            raise WeightsFileError(f"{file}: not EVP's prompts and decoder; give the file that its training wrote")
        return {
            start + entry: array
            for part, start in PROMPT.items()
            for entry, array in state_dict_of(content[part], file).items()
        }
    arrays = unwrap(read_arrays(file), (), file)
    # The classifier of an ImageNet start is nobody's.
    return {prefix + entry: array for entry, array in arrays.items() if not entry.startswith("head.")}
