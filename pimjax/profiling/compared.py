"""Compared networks beside their public PyTorch compositions, inference on this machine's CPU.

`python -m pimjax.profiling.compared` prints the table.

Wants `pip install torch torchvision transformers`. Engines take turns, in one process; weights are random, for speed
depends on no others.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pimjax.config.networks import NETWORKS
from pimjax.evaluation.tables import markdown
from pimjax.models import create_model
from pimjax.profiling.cases import stand_in
from pimjax.terminal import say

# pyright: reportMissingImports=false
# (of optional packages)

SIDE, REPEATS = 512, 5


def theirs(name: str) -> Callable[[np.ndarray], Any]:
    """Return a function of images float32 [1, 3, H, W]: the public composition, plain PyTorch on the CPU."""
    import torch
    import torchvision.models as vision

    made = {
        "fcn_resnet50": lambda: vision.segmentation.fcn_resnet50(num_classes=2, weights_backbone=None),
        "deeplabv3_resnet50": lambda: vision.segmentation.deeplabv3_resnet50(num_classes=2, weights_backbone=None),
        "vit_b_16": lambda: vision.vit_b_16(image_size=SIDE),
        "evp": _segformer,
        "swin": _swin,
    }[name]()
    model = made.eval()

    def run(images: np.ndarray) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(images))

    return run


def _segformer() -> Any:
    """Return SegFormer-B4 with its decoder: EVP without its prompts."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    depths, widths = (3, 8, 27, 3), (64, 128, 320, 512)
    config = SegformerConfig(depths=depths, hidden_sizes=widths, decoder_hidden_size=768, num_labels=1)
    return SegformerForSemanticSegmentation(config)


def _swin() -> Any:
    """Return UPerNet on Swin-T, without its auxiliary head."""
    from transformers import SwinConfig, UperNetConfig, UperNetForSemanticSegmentation

    trunk = SwinConfig(image_size=SIDE, out_features=["stage1", "stage2", "stage3", "stage4"])
    config = UperNetConfig(backbone_config=trunk, hidden_size=512, use_auxiliary_head=False, num_labels=2)
    return UperNetForSemanticSegmentation(config)


def ours(name: str) -> Callable[[np.ndarray], Any]:
    """Return a function of images float32 [1, 3, H, W]: the network compiled by XLA."""
    model, variables = create_model(name), stand_in(NETWORKS[name]())
    apply: Any = jax.jit(model.apply)

    def run(images: np.ndarray) -> Any:
        return jax.block_until_ready(apply(variables, jnp.asarray(np.moveaxis(images, 1, 3))))

    return run


def measure(name: str) -> list[str]:
    """Return a row: median seconds of both, with their range, and the ratio."""
    images = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE), np.float32)
    engines, seconds = {"pimjax": ours(name), "pytorch": theirs(name)}, {"pimjax": [], "pytorch": []}
    for repeat in range(REPEATS + 1):
        for engine, run in engines.items():
            began = time.perf_counter()
            run(images)
            if repeat:  # the first compiles
                seconds[engine].append(time.perf_counter() - began)
    medians = {engine: statistics.median(values) for engine, values in seconds.items()}
    shown = [f"{medians[e]:.2f} ({min(seconds[e]):.2f} … {max(seconds[e]):.2f})" for e in engines]
    return [name, *shown, f"{1 / medians['pimjax']:.2f}", f"{medians['pytorch'] / medians['pimjax']:.2f}"]


def main() -> None:
    """Print the table."""
    rows = [measure(name) for name in ("fcn_resnet50", "deeplabv3_resnet50", "vit_b_16", "evp", "swin")]
    header = [f"{SIDE}², one image", "pimjax s", "PyTorch s", "images/s", "PyTorch s / ours"]
    say(*markdown([header, *rows]).split("\n"))


if __name__ == "__main__":
    main()
