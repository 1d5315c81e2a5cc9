"""Names that files of pimjax 0.1 hold, and what they are called now. Whoever reads a file asks here.

Checkpoints and native directories keep the old names of parameters on disk, so that either version reads the other's.
"""

from collections.abc import Mapping
from typing import Any

# Configuration keys, by the section that holds them now.
CONFIG = {
    "model": {
        "patch": "patch_size",
        "window": "window_size",
        "pool_bins": "pool_scales",
        "drop_path": "drop_path_rate",
        "decoder_dropout": "dropout_rate",
        "jpeg_traces": "double_compression",
    },
    "optimizer": {
        "warmup": "warmup_steps",
        "final_rate": "end_lr_factor",
        "clip": "grad_clip_norm",
        "ema": "ema_decay",
        "encoder_rate": "encoder_lr_scale",
    },
    "pida": {"history": "degradation"},
    "pida.degradation": {
        "shrink": "min_scale",
        "jpeg": "jpeg_prob",
        "lowest": "min_quality",
        "aligned": "grid_aligned_prob",
    },
    "pida.kinds": {"past": "recompressed"},
    "data": {
        "fit": "resize_mode",
        "workers": "num_workers",
        "max_broken": "max_unreadable",
        "keep_decoded": "cache_decoded",
    },
    "train": {"steps": "num_steps", "accumulate": "grad_accum_steps"},
}
CLASSES = {"HistoryConfig": "DegradationConfig"}  # of `pimjax.config`
PREPROCESSING = {"fit": "resize_mode"}  # of a model card
REFERENCE = {"sets": "datasets"}  # a model card's measured scores
ROW = {"stamp": "mtime", "wanted": "settings"}  # of predictions.jsonl
# Keys of about.json, benchmark.json, scores.json and robustness.json, and of the objects in their lists.
EVALUATION = {
    "sets": "datasets",
    "set": "dataset",
    "protocol": "corruption",
    "undisturbed": "uncorrupted",
    "marked_on_authentic": "pixel_fpr_authentic",
    "false_alarm_rate": "fpr",
    "mask_grey": "mask_gray",
}
PARAMETERS = {"forgery_decoder": "mask_decoder"}  # top-level modules
STATE = {"key": "rng", "usual_loss": "loss_ema"}  # of a training state


def renamed(content: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a mapping with its keys as they are called now; a key that is there under its new name stays."""
    return {names[key] if key in names and names[key] not in content else key: value for key, value in content.items()}


def renamed_tree(tree: Any, names: Mapping[str, str]) -> Any:
    """Return a tree of dictionaries, tuples and lists with the dictionaries' keys renamed at every depth."""
    if isinstance(tree, dict):
        return {names.get(key, key): renamed_tree(value, names) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # such as optax's states
        return type(tree)(*(renamed_tree(value, names) for value in tree))
    return type(tree)(renamed_tree(value, names) for value in tree) if isinstance(tree, (tuple, list)) else tree


def inverse(names: Mapping[str, str]) -> dict[str, str]:
    """Return a table that gives things the names that files have for them."""
    return {new: old for old, new in names.items()}
