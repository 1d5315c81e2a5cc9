"""The measure of speed: the network composed of public PyTorch parts, without our algebra.

Hugging Face `transformers`' Swin backbone, twice, and its UPerNet head, three times: what the released model is built
of. It has no local stream, fusion or raster mask, some 3 % of the work, and always computes all three
outputs, as the released model does. Wants `pip install torch transformers`.
"""

# pyright: reportMissingImports=false
# (of an optional package)

import importlib.util
import math
import time
from typing import Any

from pimjax.allocator import resident_peak
from pimjax.config import LossConfig, OptimizerConfig
from pimjax.profiling.cases import Case, Subject


def missing() -> list[str]:
    """Return the packages this needs that are not installed."""
    return [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]


def prepare_pytorch(case: Case) -> Subject:
    """Prepare PyTorch: on a CUDA device compiled by `torch.compile`, channels last, autocast; on the CPU plain."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    network = _composition(case).to(device)
    images = torch.randn(case.batch, 3, case.size, case.size, device=device)
    if cuda:
        network = network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    step = _training(network, images) if case.task == "train" else _inference(network, images)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bfloat16")

    def run() -> None:
        with autocast:
            step()
        if cuda:
            torch.cuda.synchronize()

    began = time.perf_counter()
    if cuda:
        network.compile()
        run()
    facts = {
        "device": torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} CPU threads",
        "version": f"torch {torch.__version__}, transformers {transformers.__version__}",
        "compile_s": time.perf_counter() - began if cuda else 0.0,
        "operations": None,
    }
    return Subject(run, torch.cuda.max_memory_allocated if cuda else resident_peak, facts)


def _composition(case: Case) -> Any:
    import torch
    from transformers import SwinBackbone, SwinConfig, UperNetConfig
    from transformers.models.upernet.modeling_upernet import UperNetHead

    model = case.model
    swin = SwinConfig(
        image_size=case.size,
        embed_dim=model.embed_dim,
        depths=list(model.depths),
        num_heads=list(model.num_heads),
        window_size=model.window_size,
        mlp_ratio=float(model.mlp_ratio),
        drop_path_rate=model.drop_path_rate,
        out_features=[f"stage{i + 1}" for i in range(len(model.depths))],
    )

    class Composition(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoders = torch.nn.ModuleList(SwinBackbone(swin) for _ in range(2))
            self.heads = torch.nn.ModuleList(
                UperNetHead(
                    UperNetConfig(
                        backbone_config=swin,
                        hidden_size=model.decoder_channels,
                        pool_scales=list(model.pool_scales),
                        num_labels=outputs,
                    ),
                    self.encoders[0].channels,
                )
                for outputs in (2, 2, 3)
            )

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            fused, masked = (encoder(images).feature_maps for encoder in self.encoders)
            return tuple(head(maps) for head, maps in zip(self.heads, (fused, fused, masked), strict=True))

    return Composition()


def _inference(network: Any, images: Any) -> Any:
    import torch

    network.eval()

    @torch.inference_mode()
    def step() -> None:
        network(images)

    return step


def _training(network: Any, images: Any) -> Any:
    import torch
    from torch.nn import functional as F

    network.train()
    step_config, weights = OptimizerConfig(), LossConfig()
    optimizer = torch.optim.Adam(
        network.parameters(),
        lr=step_config.learning_rate,
        betas=(step_config.b1, step_config.b2),
        eps=step_config.eps,
        weight_decay=step_config.weight_decay,
    )
    B, _, H, W = images.shape
    labels = torch.randint(0, 2, (B, -(-H // 4), -(-W // 4)), device=images.device)

    def step() -> None:
        mask, boundary, image = network(images)
        area, perimeter = (logits.softmax(1)[:, 1].sum((1, 2)) for logits in (mask, boundary))
        loss = (
            weights.mask * F.cross_entropy(mask, labels)
            + weights.boundary * F.cross_entropy(boundary, labels)
            + weights.compactness * (perimeter**2 / (4 * math.pi * area)).mean()
            + weights.reconstruction * image.abs().mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
