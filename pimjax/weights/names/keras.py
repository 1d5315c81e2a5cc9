"""Names that Keras' counters and wrappers changed, and those of ManTra-Net's PyTorch port, as the originals' own."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

LAYER = re.compile(r"(b\dc\d|transform|outlierTrans_new|outlierTrans|bnorm|glbStd|cLSTM|pred|final_\d)(_\d+)?")
BLOCK = re.compile(r"pixel_+attention(?:_(\d+))?")
OF_FEATEX = re.compile(r"b\dc\d|transform")


def without_counters(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return ManTra-Net's or SPAN's arrays by their own names, whatever wraps them and however Keras counted layers.

    "sigNet/Featex/b1c1_1/regular_kernel" is "Featex/b1c1/regular_kernel"; SPAN's attention blocks, counted on from any
    number, are 1 to 5 in that order. Other names stay.

    Raises:
        ValueError: two names become one.
    """
    counts = sorted({_count(part) for name in arrays for part in name.split("/") if BLOCK.fullmatch(part)})
    plain: dict[str, Any] = {}
    for name, array in arrays.items():
        parts = name.split("/")
        layer = parts[-2] if len(parts) > 1 else ""
        if BLOCK.fullmatch(layer):
            own = f"pixel_attention_{1 + counts.index(_count(layer))}/{parts[-1]}"
        elif found := LAYER.fullmatch(layer):
            within = "Featex/" if OF_FEATEX.fullmatch(found[1]) else ""
            own = f"{within}{found[1]}/{parts[-1]}"
        else:
            own = name
        if own in plain:
            raise ValueError(f"{name}: {own} is there twice; give the weights of one model")
        plain[own] = array
    return plain


def _count(block: str) -> int:
    found = BLOCK.fullmatch(block)
    return int(found[1] or 0) if found else 0


BAYAR = "Featex/b1c1/bayar_kernel"
# Layers of the port's extractor behind the first, in its order; their indices there are even.
PORT_LAYERS = ("b1c2", "b2c1", "b2c2", "b3c1", "b3c2", "b3c3", "b4c1", "b4c2", "b4c3", "b5c1", "b5c2", "transform")


def is_port(arrays: Mapping[str, Any]) -> bool:
    """Return whether arrays are named as in the PyTorch port of ManTra-Net."""
    return any(name.endswith("IMTFE.init_conv.weight") for name in arrays)


def from_port(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the PyTorch port's arrays under ManTra-Net's own names, and statistics 0 and 1, which the port has not.

    Its fixed SRM filters are left out. What is missing stays missing, what is unknown stays as it is.
    """
    own: dict[str, Any] = {"bnorm/moving_mean": np.zeros(64), "bnorm/moving_variance": np.ones(64)}
    whole = {"IMTFE.init_conv.weight": "Featex/b1c1/regular_kernel", "IMTFE.BayarConv2D.weight": BAYAR}
    whole |= {"AnomalyDetector.adaptation.weight": "outlierTrans/kernel", "AnomalyDetector.end.0.weight": "pred/kernel"}
    for i, layer in enumerate(PORT_LAYERS):
        whole[f"IMTFE.middle_and_last_block.{2 * i}.weight"] = f"Featex/{layer}/kernel"
    vectors = {f"IMTFE.middle_and_last_block.{2 * i}.bias": f"Featex/{x}/bias" for i, x in enumerate(PORT_LAYERS)}
    cell = "AnomalyDetector.conv_lstm.cell_list.0.conv."
    vectors |= {"AnomalyDetector.end.0.bias": "pred/bias", f"{cell}bias": "cLSTM/bias"}
    for name, array in arrays.items():
        name = re.sub(r"^.*?\b(?=IMTFE\.|AnomalyDetector\.)", "", name)  # the benchmark's wrapper
        if name in whole:
            own[whole[name]] = np.transpose(array, (2, 3, 1, 0))
        elif name in vectors:
            own[vectors[name]] = array
        elif name == f"{cell}weight":
            kernel = np.transpose(array, (2, 3, 1, 0))
            own |= {"cLSTM/kernel": kernel[:, :, :64], "cLSTM/recurrent_kernel": kernel[:, :, 64:]}
        elif name == "AnomalyDetector.sigma_F":
            own["glbStd/min_std"] = np.reshape(array, (1, 1, 1, -1))
        elif name != "IMTFE.SRMConv2D.weight":
            own[name] = array
    return own
