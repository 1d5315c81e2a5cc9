"""What values a configuration may hold: refused by key, before anything is built or read."""

import dataclasses

from pimjax.config import (
    ARCHITECTURES,
    BAD_STEPS,
    FITS,
    FUSIONS,
    LOCAL_STREAMS,
    MAPPINGS,
    PRECISIONS,
    SCHEDULES,
    Config,
    ModelConfig,
)


def check(config: Config) -> None:
    """Raises ValueError for a value that no run can use, naming the key and what it may be."""
    one_of = (
        ("data.fit", config.data.fit, FITS),
        ("optimizer.schedule", config.optimizer.schedule, SCHEDULES),
        ("train.mapping", config.train.mapping, MAPPINGS),
        ("train.precision", config.train.precision, PRECISIONS),
        ("train.bad_step", config.train.bad_step, BAD_STEPS),
    )
    for key, value, allowed in one_of:
        if value not in allowed:
            raise ValueError(f"config.{key} is {value!r}; it must be one of {', '.join(map(repr, allowed))}")
    positive = {
        "data.image_size": config.data.image_size,
        "data.batch_size": config.data.batch_size,
        "data.validation_images": config.data.validation_images,
        "data.max_validation": config.data.max_validation,
        "data.boundary_width": config.data.boundary_width,
        "train.steps": config.train.steps,
        "train.validate_every": config.train.validate_every,
        "train.log_every": config.train.log_every,
        "train.checkpoint_every": config.train.checkpoint_every,
        "train.keep_last": config.train.keep_last,
        "train.keep_best": config.train.keep_best,
        "train.accumulate": config.train.accumulate,
    }
    for key, value in positive.items():
        if value < 1:
            raise ValueError(f"config.{key} is {value}; it must be at least 1")
    check_model(config.model)
    _check_training(config)
    _check_data(config)
    _check_loss(config)


def _check_loss(config: Config) -> None:
    model, loss = config.model, config.loss
    pim = model.architecture == "pim"
    decoded = (pim and model.boundary_decoder) * (loss.boundary + loss.compactness)
    decoded += (pim and model.image_decoder and model.global_stream) * loss.reconstruction
    if not (loss.mask or loss.dice) and not decoded:
        raise ValueError("config.loss: only decoders that config.model does not have are given a weight; set loss.mask")


def _check_data(config: Config) -> None:
    if min(config.data.weights, default=1) <= 0:
        raise ValueError(f"config.data.weights is {config.data.weights}; each must be positive")
    if config.data.weights and len(config.data.weights) != len(config.data.train):
        raise ValueError(
            f"config.data.weights has {len(config.data.weights)} numbers for the {len(config.data.train)} sources of "
            "config.data.train; give one for each, or none"
        )
    for key, weights in (
        ("pida.masks", (config.pida.masks.smooth, config.pida.masks.superpixels)),  # which need nothing of a source
        ("pida.masks", (config.pida.masks.segments, config.pida.masks.borrowed, 1)),
        ("pida.kinds", dataclasses.astuple(config.pida.kinds)),
        ("pida.perturbations", dataclasses.astuple(config.pida.perturbations)),
        ("loss", dataclasses.astuple(config.loss)),
    ):
        if min(weights) < 0 or not any(weights):
            raise ValueError(f"config.{key}: weights must not be negative, and one must be positive")
    history = config.pida.history
    for key, value, low, high in (
        ("shrink", history.shrink, 0.05, 1),
        ("jpeg", history.jpeg, 0, 1),
        ("lowest", history.lowest, 1, 98),
        ("aligned", history.aligned, 0, 1),
    ):
        if not low <= value <= high:
            raise ValueError(f"config.pida.history.{key} is {value}; it must lie in {low} … {high}")
    if not 0 < config.pida.masks.min_area <= config.pida.masks.max_area < 1:
        raise ValueError(
            f"config.pida.masks: areas must satisfy 0 < min_area <= max_area < 1, "
            f"not {config.pida.masks.min_area} and {config.pida.masks.max_area}"
        )


def _check_training(config: Config) -> None:
    optimizer, first_and_last = config.optimizer, config.profile.steps
    bounds = (
        ("optimizer.warmup", optimizer.warmup, 0, float("inf")),
        ("optimizer.final_rate", optimizer.final_rate, 0, 1),
        ("optimizer.clip", optimizer.clip, 0, float("inf")),
        ("optimizer.ema", optimizer.ema, 0, 0.999999),
        ("optimizer.encoder_rate", optimizer.encoder_rate, 0, float("inf")),
        ("optimizer.layer_decay", optimizer.layer_decay, 0, 1),
        ("train.spike", config.train.spike, 0, float("inf")),
    )
    for key, value, low, high in bounds:
        if not low <= value <= high:
            raise ValueError(f"config.{key} is {value}; it must lie in {low} … {high}")
    if 0 < config.train.spike <= 1:
        raise ValueError(
            f"config.train.spike is {config.train.spike}; a spike is more than the usual loss: above 1, or 0"
        )
    if first_and_last and not (len(first_and_last) == 2 and 1 <= first_and_last[0] <= first_and_last[1]):
        raise ValueError(f"config.profile.steps is {first_and_last}; give the first and the last step, as in (10, 12)")


# What a model can be built with in reasonable time and memory: field → smallest and largest.
_BOUNDS = {
    "embed_dim": (1, 1024),
    "depths": (1, 64),
    "num_heads": (1, 256),
    "window": (1, 32),
    "mlp_ratio": (1, 16),
    "drop_path": (0, 0.99),
    "decoder_channels": (1, 8192),
    "pool_bins": (1, 64),
    "decoder_dropout": (0, 0.99),
}


# Switches of PIM that another architecture would silently ignore. (That it has neither a boundary nor an image decoder
# is no such thing: none is asked for by leaving these two fields alone.)
_PIM_ONLY = (
    "patch",
    "raster_mask",
    "global_stream",
    "local_stream",
    "fusion",
    "high_pass_init",
    "spectral_stem",
    "jpeg_traces",
)


def check_model(model: ModelConfig) -> None:
    """Raises ValueError for a value, or a type, with which no network can be built, naming the key."""
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        kinds = {float: (int, float), tuple[int, ...]: (tuple,)}.get(field.type, (field.type,))
        many = value if isinstance(value, tuple) else (value,)
        if type(value) not in kinds or (kinds == (tuple,) and any(type(item) is not int for item in many)):
            raise ValueError(f"config.model.{field.name} must be {getattr(field.type, '__name__', field.type)}")
        low, high = _BOUNDS.get(field.name, (None, None))
        if low is not None and not (0 < len(many) <= 8 and all(low <= item <= high for item in many)):
            raise ValueError(f"config.model.{field.name} is {value}; it must lie in {low} … {high}")
    for key, value, allowed in (
        ("architecture", model.architecture, ARCHITECTURES),
        ("local_stream", model.local_stream, LOCAL_STREAMS),
        ("fusion", model.fusion, FUSIONS),
    ):
        if value not in allowed:
            raise ValueError(f"config.model.{key} is {value!r}; it must be one of {', '.join(map(repr, allowed))}")
    _check_architecture(model)


def _check_architecture(model: ModelConfig) -> None:
    changed = [key for key in _PIM_ONLY if getattr(model, key) != getattr(ModelConfig, key)]
    if changed and model.architecture != "pim":
        raise ValueError(
            f"config.model.{changed[0]} is {getattr(model, changed[0])!r}, a switch of PIM that "
            f"config.model.architecture {model.architecture!r} does not have; leave it out"
        )
    if model.patch not in (4, 8, 16):
        raise ValueError(f"config.model.patch is {model.patch}; it must be 4, 8 or 16")
    if model.spectral_stem and model.patch != 8:
        raise ValueError(f"config.model.patch is {model.patch}; with spectral_stem it must be 8, a JPEG block's side")
    if model.jpeg_traces and not model.spectral_stem:
        raise ValueError("config.model.jpeg_traces is True; it is a part of spectral_stem, which must be True too")
    if model.architecture == "vit" and len(model.depths) != 1:
        raise ValueError(f"config.model.depths is {model.depths}; architecture 'vit' has one stage, as in (12,)")
    if model.architecture not in ("pim", "vit"):
        return  # without heads
    if len(model.depths) != len(model.num_heads):
        raise ValueError(
            f"config.model.depths {model.depths} and num_heads {model.num_heads} must be as long as each other"
        )
    for stage, heads in enumerate(model.num_heads):
        if model.embed_dim * 2**stage % heads:
            raise ValueError(
                f"config.model.embed_dim gives stage {stage + 1} {model.embed_dim * 2**stage} channels, "
                f"which {heads} heads cannot share evenly; change embed_dim or num_heads"
            )
