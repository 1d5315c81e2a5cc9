"""One step of training and of evaluation, on one device's share of a batch. Pure functions of their arguments.

A batch is {"image": uint8 [B, H, W, 3], "mask": uint8 [B, h, w], "boundary": uint8 [B, h, w],
"target": float32 [B, h, w, 3]}, the last three at a quarter of the input's size.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from pimjax.config import LossConfig
from pimjax.models.pim import PIM, PIMOutput
from pimjax.normalization import normalize
from pimjax.training.losses import Targets, pim_loss

Batch = dict[str, jax.Array]
AXIS = "data"  # the mapped axis over which gradients and metrics are averaged


@flax.struct.dataclass
class TrainState:
    """All that a training step changes."""

    step: jax.Array  # int32 scalar: steps taken
    params: Any
    batch_stats: Any
    opt_state: Any


def init_state(model: PIM, optimizer: optax.GradientTransformation, key: jax.Array) -> TrainState:
    """Freshly initialised parameters. They do not depend on the image size."""
    variables = jax.jit(model.init)(key, jnp.zeros((1, 32, 32, 3)))
    return TrainState(
        jnp.zeros((), jnp.int32), variables["params"], variables["batch_stats"], optimizer.init(variables["params"])
    )


def loss_and_gradients(
    model: PIM, weights: LossConfig, state: TrainState, images: jax.Array, targets: Targets, key: jax.Array
) -> tuple[Any, dict[str, jax.Array], Any]:
    """Gradients of the loss in training mode.

    Args:
        model: the network.
        weights: of the loss terms.
        state: parameters and BatchNorm statistics.
        images: float32 [B, H, W, 3], normalised.
        targets: at a quarter of the size.
        key: drives dropout and stochastic depth.

    Returns:
        gradients as `state.params`, the loss terms, the updated BatchNorm statistics.
    """

    def loss(params):
        output, updated = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        terms = pim_loss(output, targets, weights)
        return terms["total"], (terms, updated["batch_stats"])

    gradients, (terms, batch_stats) = jax.grad(loss, has_aux=True)(state.params)
    return gradients, terms, batch_stats


def accumulated_gradients(
    model: PIM,
    weights: LossConfig,
    state: TrainState,
    images: jax.Array,
    targets: Targets,
    key: jax.Array,
    parts: int,
) -> tuple[Any, dict[str, jax.Array], Any]:
    """`loss_and_gradients` of B/parts images at a time, averaged over the parts: memory of one part.

    BatchNorm normalises each part by its own statistics, and updates the running ones once per part.
    """
    if parts == 1:
        return loss_and_gradients(model, weights, state, images, targets, key)

    def add_part(carry: tuple[Any, Any], part: tuple[jax.Array, Any]) -> tuple[tuple[Any, Any], dict[str, jax.Array]]:
        total, batch_stats = carry
        index, (images, targets) = part
        gradients, terms, batch_stats = loss_and_gradients(
            model, weights, state.replace(batch_stats=batch_stats), images, targets, jax.random.fold_in(key, index)
        )
        return (jax.tree.map(jnp.add, total, gradients), batch_stats), terms

    split = jax.tree.map(lambda array: array.reshape(parts, -1, *array.shape[1:]), (images, targets))
    start = (jax.tree.map(jnp.zeros_like, state.params), state.batch_stats)
    (total, batch_stats), terms = jax.lax.scan(add_part, start, (jnp.arange(parts), split))
    return jax.tree.map(lambda g: g / parts, total), {name: term.mean() for name, term in terms.items()}, batch_stats


def train_step(
    model: PIM,
    optimizer: optax.GradientTransformation,
    weights: LossConfig,
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    accumulate: int = 1,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One optimiser step under a mapped axis `AXIS`; returns the new state and scalar metrics, equal on all devices.

    `key` is the run's; the step number and the device's index are folded in here, so that a resumed run draws the
    same dropout. The running BatchNorm statistics are averaged over devices. With `accumulate` > 1 the batch is taken
    in that many parts; see `accumulated_gradients`.
    """
    key = jax.random.fold_in(jax.random.fold_in(key, state.step), jax.lax.axis_index(AXIS))
    targets = Targets(batch["mask"], batch["boundary"], batch["target"])
    gradients, terms, batch_stats = accumulated_gradients(
        model, weights, state, normalize(batch["image"]), targets, key, accumulate
    )
    gradients, terms, batch_stats = jax.lax.pmean((gradients, terms, batch_stats), AXIS)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    metrics = {f"loss/{name}": value for name, value in terms.items()}
    metrics["gradient_norm"] = optax.tree.norm(gradients)
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, batch_stats, opt_state), metrics


def eval_step(model: PIM, variables: dict[str, Any], images: jax.Array) -> PIMOutput:
    """Inference on uint8 images [B, H, W, 3]."""
    return model.apply(variables, normalize(images), train=False)


def predictions_of(output: PIMOutput) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """Probability of manipulation [B, h, w], of the boundary [B, h, w], and the reconstruction [B, h, w, 3].

    None where the model has no such decoder.
    """
    boundary = output.boundary_logits
    return (
        jax.nn.softmax(output.mask_logits)[..., 1],
        None if boundary is None else jax.nn.softmax(boundary)[..., 1],
        output.reconstruction,
    )
