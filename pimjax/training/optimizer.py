"""The published optimiser."""

import optax

from pimjax.config import OptimizerConfig


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Adam whose gradient includes weight_decay · parameter (coupled L2), for every parameter.

    Args:
        config: rates and schedule.
        steps: length of the run, over which the schedule "cosine" lowers the rate to 0.
    """
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay),
        optax.adam(_rate(config, steps), b1=config.b1, b2=config.b2, eps=config.eps),
    )


def _rate(config: OptimizerConfig, steps: int) -> optax.ScalarOrSchedule:
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, config.warmup, steps)
    if config.warmup:
        return optax.linear_schedule(0.0, config.learning_rate, config.warmup)
    return config.learning_rate
