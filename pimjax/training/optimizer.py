"""The published optimiser."""

import optax

from pimjax.config import OptimizerConfig


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Adam whose gradient includes weight_decay · parameter (coupled L2), for every parameter, at a constant rate."""
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay),
        optax.adam(config.learning_rate, b1=config.b1, b2=config.b2, eps=config.eps),
    )
