"""One step of training and of evaluation, on one device's share of a batch. Pure functions of their arguments.

A batch is {"image": uint8 [B, H, W, 3], "mask": uint8 [B, h, w], "boundary": uint8 [B, h, w],
"target": float32 [B, h, w, 3], "stop": bool [B]}, maps at a quarter of the input's size. "stop" is how a process tells
all others that it was asked to end: one true is enough.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from pimjax.config import ComparedLossConfig, LossConfig
from pimjax.models.pim import PIMOutput
from pimjax.models.trained import Trained
from pimjax.normalization import normalize
from pimjax.training.compared_losses import compared_loss
from pimjax.training.init_params import fresh_variables
from pimjax.training.losses import Targets, pim_loss
from pimjax.training.optimizer import clip_factor, update_ema, without_frozen
from pimjax.training.zero import AXIS, gather, global_norm, local_shard, scatter_mean

Batch = dict[str, jax.Array]
SETTLED = 50  # steps after which the usual loss is known well enough to tell a spike from it


class StepConfig(NamedTuple):
    """Hold what all steps of a run have in common."""

    model: nn.Module  # of `create_model`
    optimizer: optax.GradientTransformation
    loss: LossConfig | ComparedLossConfig
    grad_accum_steps: int = 1  # parts of a device's images taken one after another
    grad_clip_norm: float = 0.0  # largest gradient norm; 0: any
    ema_decay: float = 0.0  # decay of the parameters' running average; 0: none
    spike: float = 0.0  # a loss so many times the usual one is bad; 0: only one that is no number
    shards: int = 1  # devices that share the optimizer's state out; 1: it is whole on each
    trainable: tuple[str, ...] = ()  # beginnings of the names of what alone is trained; (): all
    constrain: Callable[[Any], Any] | None = None  # what parameters go through after every update, whole on each device


@flax.struct.dataclass
class TrainState:
    """Hold all that a training step changes, and the random state that it does not."""

    step: jax.Array  # int32 scalar: steps taken
    rng: jax.Array  # uint32 [2]: the run's random key; each step's is folded from it
    params: Any
    batch_stats: Any
    opt_state: Any
    ema_params: Any = None  # running average of `params`, or None
    loss_ema: Any = None  # float32 scalar: running mean over the last fifty good steps or so


def init_state(
    model: nn.Module, optimizer: optax.GradientTransformation, rng: jax.Array, ema_params: bool = False
) -> TrainState:
    """Initialize parameters. They do not depend on the image size."""
    return state_from(fresh_variables(model, rng), optimizer, rng, ema_params)


def state_from(
    variables: dict[str, Any], optimizer: optax.GradientTransformation, rng: jax.Array, ema_params: bool = False
) -> TrainState:
    """Make the state before the first step, from variables {"params", "batch_stats"}."""
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        rng=jax.random.key_data(rng),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if ema_params else None,
        loss_ema=jnp.zeros(()),
    )


def loss_and_gradients(
    model: nn.Module,
    weights: LossConfig | ComparedLossConfig,
    state: TrainState,
    images: jax.Array,
    targets: Targets,
    rng: jax.Array,
    sample_ids: jax.Array | None = None,
) -> tuple[Any, dict[str, jax.Array], Any]:
    """Compute the gradients of the loss in training mode.

    Args:
        model: the network.
        weights: of the loss terms.
        state: parameters and BatchNorm statistics.
        images: float32 [B, H, W, 3], normalized.
        targets: at a quarter of the size.
        rng: drives dropout and stochastic depth.
        sample_ids: int32 [B], the images' numbers in the whole batch, for dropout.

    Returns:
        gradients as `state.params`, the loss terms, the updated BatchNorm statistics.
    """

    def loss(params):
        output, updated = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            train=True,
            sample_ids=sample_ids,
            rngs={"dropout": rng},
            mutable=["batch_stats"],
        )
        if isinstance(model, Trained):
            terms = compared_loss(model.config, output, targets, cast(ComparedLossConfig, weights), params)
        else:
            terms = pim_loss(output, targets, cast(LossConfig, weights))
        return terms["total"], (terms, updated.get("batch_stats", {}))

    gradients, (terms, batch_stats) = jax.grad(loss, has_aux=True)(state.params)
    return gradients, terms, batch_stats


def accumulated_gradients(
    model: nn.Module,
    weights: LossConfig | ComparedLossConfig,
    state: TrainState,
    images: jax.Array,
    targets: Targets,
    rng: jax.Array,
    parts: int,
    sample_ids: jax.Array | None = None,
) -> tuple[Any, dict[str, jax.Array], Any]:
    """Average `loss_and_gradients` over parts of B/parts images: the memory of one part.

    The parts are to BatchNorm what as many devices would be: each is normalized by its own statistics, and the running
    ones are averaged over them. Where statistics are synchronized, every layer needs all images at once, and the batch
    is taken whole: let the model's `execution.remat` save memory then.
    """
    if parts == 1 or model.execution.bn_axis:
        return loss_and_gradients(model, weights, state, images, targets, rng, sample_ids)
    if sample_ids is None:
        sample_ids = jnp.arange(len(images))

    def add_part(total: Any, part: tuple[jax.Array, Targets, jax.Array]) -> tuple[Any, Any]:
        images, targets, sample_ids = part
        gradients, *rest = loss_and_gradients(model, weights, state, images, targets, rng, sample_ids)
        return jax.tree.map(jnp.add, total, gradients), rest

    split = jax.tree.map(lambda array: array.reshape(parts, -1, *array.shape[1:]), (images, targets, sample_ids))
    total, rest = jax.lax.scan(add_part, jax.tree.map(jnp.zeros_like, state.params), split)
    terms, batch_stats = jax.tree.map(lambda values: values.mean(0), rest)
    return jax.tree.map(lambda g: g / parts, total), terms, batch_stats


def train_step(step_config: StepConfig, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
    """Take one optimizer step under a mapped axis `AXIS`: the new state and scalar metrics, equal on all devices.

    What is drawn for an image depends on the run's key, the step and the image's number in the whole batch, hence not
    on how the batch is spread. A bad step (a loss or gradient that is no number, a spike) is counted, and changes
    nothing else: metrics["bad"] is true. With `step_config.shards` > 1, `state.opt_state` and `state.ema_params` are
    this device's parts; see `pimjax.training.zero`.
    """
    shards, params = step_config.shards, state.params
    rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
    images = normalize(batch["image"])
    sample_ids = jax.lax.axis_index(AXIS) * len(images) + jnp.arange(len(images))
    targets = Targets(batch["mask"], batch["boundary"], batch["target"], batch.get("full"))
    gradients, terms, batch_stats = accumulated_gradients(
        step_config.model, step_config.loss, state, images, targets, rng, step_config.grad_accum_steps, sample_ids
    )
    terms, batch_stats = jax.lax.pmean((terms, batch_stats), AXIS)
    gradients = scatter_mean(without_frozen(gradients, step_config.trainable), shards)  # compiled without their work
    norm = global_norm(gradients, params, shards)
    bad = is_bad(terms["total"], norm, state, step_config.spike)

    def unless_bad(new: Any, old: Any) -> Any:
        # Counters go on: a schedule ends with the run, however many steps were bad.
        choose = lambda n, o: n if jnp.issubdtype(n.dtype, jnp.integer) else jnp.where(bad, o, n)  # noqa: E731
        return jax.tree.map(choose, new, old)

    factor = clip_factor(norm, step_config.grad_clip_norm)
    part = local_shard(params, shards)
    updates, opt_state = step_config.optimizer.update(
        jax.tree.map(lambda g: factor * g, gradients), state.opt_state, part
    )
    updated = optax.apply_updates(part, updates)
    part = unless_bad(step_config.constrain(updated) if step_config.constrain else updated, part)
    ema_params = state.ema_params
    if ema_params is not None:
        ema_params = unless_bad(update_ema(ema_params, part, state.step, step_config.ema_decay), ema_params)
    usual = jnp.where(state.loss_ema == 0, terms["total"], 0.98 * state.loss_ema + 0.02 * terms["total"])
    metrics = {f"loss/{name}": value for name, value in terms.items()}
    metrics |= {"gradient_norm": norm, "bad": bad, "stop": jax.lax.pmax(batch["stop"].any(), AXIS)}
    return TrainState(
        step=state.step + 1,
        rng=state.rng,
        params=gather(part, params, shards),
        batch_stats=unless_bad(batch_stats, state.batch_stats),
        opt_state=unless_bad(opt_state, state.opt_state),
        ema_params=ema_params,
        loss_ema=unless_bad(usual, state.loss_ema),
    ), metrics


def is_bad(loss: jax.Array, norm: jax.Array, state: TrainState, spike: float) -> jax.Array:
    """Return whether a step must not be taken. Boolean scalar."""
    bad = ~(jnp.isfinite(loss) & jnp.isfinite(norm))
    if spike:
        bad |= (state.step >= SETTLED) & (loss > spike * state.loss_ema)
    return bad


def eval_step(model: nn.Module, variables: dict[str, Any], images: jax.Array) -> PIMOutput:
    """Apply a model to uint8 images [B, H, W, 3]."""
    return cast(PIMOutput, model.apply(variables, normalize(images), train=False))
