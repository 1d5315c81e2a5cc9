"""The optimizer: Adam as published, others, and what is usual around them (schedules, rates by layer, averaging)."""

import functools
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pimjax.config import OptimizerConfig

ENCODERS = ("encoder", "masked_encoder")


def make_optimizer(
    config: OptimizerConfig, steps: int = 1, trainable: Sequence[str] = ()
) -> optax.GradientTransformation:
    """Return Adam or SGD whose gradient includes weight_decay · parameter (coupled L2), or AdamW.

    What is not trainable stays as it is. Every transformation works on each number of a parameter by itself, so that
    devices may share out its state.

    Args:
        config: rates, decays and schedule.
        steps: length of the run, with which a schedule ends.
        trainable: beginnings of the names of the parameters that alone are trained; (): all.
    """
    rate = (
        make_schedule(config, steps) if config.warmup_steps or config.schedule != "constant" else config.learning_rate
    )
    decay = optax.stateless(functools.partial(_add_decay, config))
    adam = optax.scale_by_adam(config.b1, config.b2, config.eps)
    transformations = {
        "adam": [decay, optax.adam(rate, b1=config.b1, b2=config.b2, eps=config.eps)],
        "adamw": [adam, decay, optax.scale_by_learning_rate(rate)],
        "sgd": [decay, optax.sgd(rate, config.momentum)],
    }[config.algorithm]
    if (config.encoder_lr_scale, config.layer_decay) != (1, 1):
        transformations.append(
            optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, rate_factors(updates, config)))
        )
    if trainable:
        transformations.append(optax.stateless(lambda updates, _: without_frozen(updates, trainable)))
    return optax.chain(*transformations)


def _add_decay(config: OptimizerConfig, updates: Any, params: Any) -> Any:
    """Add weight_decay · parameter to every parameter's update, or to every kernel's."""
    spared = 1 if config.decay_kernels_only else -1
    return jax.tree.map(lambda g, p: g if p.ndim <= spared else g + config.weight_decay * p, updates, params)


def without_frozen(tree: Any, trainable: Sequence[str]) -> Any:
    """Return a tree like the parameters with zeros where none of `trainable` begins a parameter's name.

    The name is its keys joined by dots; () leaves all as they are.
    """
    if not trainable:
        return tree
    kept = tuple(trainable)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf if _name(path).startswith(kept) else jnp.zeros_like(leaf), tree
    )


def require_trainable(params: Any, trainable: Sequence[str]) -> None:
    """Raise ValueError if something in config.optimizer.trainable begins no parameter's name."""
    names = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for start in trainable:
        if not any(name.startswith(start) for name in names):
            tops = dict.fromkeys(name.partition(".")[0] for name in names)
            raise ValueError(
                f"config.optimizer.trainable: no parameter's name begins with {start!r}; they begin with "
                f"{', '.join(tops)}"
            )


def _name(path: Any) -> str:
    return ".".join(str(entry.key) for entry in path)


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Return steps taken → learning rate: a linear warm-up from 0, then as `config.schedule` says to the run's end."""
    rest: optax.Schedule = optax.constant_schedule(config.learning_rate)
    highest, length = config.learning_rate, max(steps - config.warmup_steps, 1)
    if config.schedule == "cosine":
        rest = optax.cosine_decay_schedule(highest, length, config.end_lr_factor)
    elif config.schedule == "polynomial":
        rest = optax.polynomial_schedule(highest, highest * config.end_lr_factor, config.power, length)
    elif config.schedule == "steps":
        rest = optax.exponential_decay(highest, config.step_length, config.step_factor, staircase=True)
    if not config.warmup_steps:
        return rest
    rise = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
    return optax.join_schedules([rise, rest], [config.warmup_steps])


def rate_factors(params: Any, config: OptimizerConfig) -> Any:
    """Return by how much each parameter's rate is multiplied: a tree of floats like `params`.

    1 outside the encoders. A layer of an encoder of n blocks has encoder_lr_scale · layer_decay^(n + 1 − i): i is the
    number of its block from 1; what merges or normalizes a stage's map counts with the stage's last block, the patch
    embedding, or a ResNet's stem, is 0 (as for vision transformers: Bao et al., BEiT, ICLR 2022).
    """

    def encoder_factors(encoder: dict[str, Any]) -> dict[str, Any]:
        blocks = sorted(tuple(map(int, re.findall(r"\d+", name))) for name in encoder if "_block" in name)

        def factor(layer: str) -> float:
            if layer.startswith(("patch_", "stem")):
                number = 0
            elif "_block" in layer:
                number = 1 + blocks.index(tuple(map(int, re.findall(r"\d+", layer))))
            else:  # merge0, norm0, …
                number = sum(stage <= int(re.findall(r"\d+", layer)[0]) for stage, _ in blocks)
            return config.encoder_lr_scale * config.layer_decay ** (len(blocks) + 1 - number)

        return {name: jax.tree.map(functools.partial(_constant, factor(name)), part) for name, part in encoder.items()}

    return {
        name: encoder_factors(part) if name in ENCODERS else jax.tree.map(functools.partial(_constant, 1.0), part)
        for name, part in params.items()
    }


def _constant(value: float, _: Any) -> float:
    return value


def clip_factor(norm: jax.Array, largest: float) -> jax.Array | float:
    """Return what to multiply a gradient of this norm with, so that its norm is `largest` at most; 0 does not clip."""
    return jnp.minimum(1.0, largest / jnp.maximum(norm, 1e-12)) if largest else 1.0


def update_ema(ema_params: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """Update the parameters' moving average after `step` steps; it forgets its beginning sooner than `decay`."""
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, ema_params, params)
