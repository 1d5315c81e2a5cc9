"""Every key that a run reads: `schema` declares them, `validate` checks them together, `load` reads files."""

from pimjax.aliases import CLASSES
from pimjax.config.schema import (
    ComparedLossConfig,
    Config,
    DataConfig,
    DegradationConfig,
    ForgeryConfig,
    LossConfig,
    MaskConfig,
    ModelConfig,
    NetworkConfig,
    OptimizerConfig,
    PerturbationConfig,
    PidaConfig,
    ProfileConfig,
    TrainConfig,
    UploadConfig,
    tiny_model,
)

__all__ = [
    "ComparedLossConfig",
    "Config",
    "DataConfig",
    "DegradationConfig",
    "ForgeryConfig",
    "LossConfig",
    "MaskConfig",
    "ModelConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "PerturbationConfig",
    "PidaConfig",
    "ProfileConfig",
    "TrainConfig",
    "UploadConfig",
    "tiny_model",
    *CLASSES,
]


def __getattr__(name: str) -> type:
    if name in CLASSES:
        return globals()[CLASSES[name]]
    raise AttributeError(f"module 'pimjax.config' has no attribute {name!r}")
