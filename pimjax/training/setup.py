"""What a run needs before its first step: devices, data, model, and the state to start from."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from pimjax.config import Config
from pimjax.config.networks import COMPARED, trained_parts
from pimjax.data.pipeline import validation_set
from pimjax.data.registry import load_source
from pimjax.data.sources import Source
from pimjax.data_checks.checks import require_sound
from pimjax.files import printable
from pimjax.models.factory import create_model
from pimjax.models.layers import Execution
from pimjax.models.released import constraint_of
from pimjax.models.trained import Trained
from pimjax.training.distributed import print_once
from pimjax.training.optimizer import make_optimizer, require_trainable
from pimjax.training.progress import timed_phase
from pimjax.training.sharding import Partition, all_devices, check_batch_size
from pimjax.training.starting_weights import initial_variables
from pimjax.training.step import StepConfig, TrainState, init_state, state_from
from pimjax.training.zero import AXIS
from pimjax.weights.names.pim import variable_shapes


@dataclasses.dataclass(frozen=True)
class TrainContext:
    """Hold what stays the same during a run."""

    config: Config
    partition: Partition
    step_config: StepConfig
    sources: tuple[Source, ...]
    examples: dict[str, np.ndarray]  # the fixed validation set, whole in every process

    @property
    def workdir(self) -> Path:
        """Return where logs, checkpoints and pictures go."""
        return Path(self.config.workdir)

    @functools.cached_property
    def shapes(self) -> TrainState:
        """Return the state's arrays as they are stored, without computing them."""
        initial = functools.partial(
            init_state,
            self.step_config.model,
            self.step_config.optimizer,
            ema_params=bool(self.config.optimizer.ema_decay),
        )
        return jax.eval_shape(initial, jax.random.key(0))


def create_train_context(config: Config) -> TrainContext:
    """Open the data and build the model; write nothing.

    Raises:
        ValueError, FileNotFoundError: the configuration or the data cannot be used.
    """
    devices = all_devices()
    check_batch_size(config.data.batch_size, len(devices), config.train.grad_accum_steps)
    partition = Partition(devices, config.train.mapping, len(devices) if config.train.shard_optimizer else 1)
    with timed_phase(f"reading {len(config.data.train) + len(config.data.validation)} sources"):
        sources, held_out = _open_sources(config)
    with timed_phase("making the validation set"):
        examples = validation_set(held_out, config.data, config.pida, config.seed)
    images, validation = sum(map(len, sources)), len(examples["id"])
    where = f"{len(devices)} × {devices[0].device_kind}"
    if partition.processes > 1:
        where += f" in {partition.processes} processes"
    print_once(f"{images} training images, {validation} validation examples, {where}")
    return TrainContext(config, partition, make_step_config(config, partition), sources, examples)


def _open_sources(config: Config) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """Return the sources of training and of validation; ValueError if they share an image, or some cannot be used."""
    sources, held_out = (tuple(map(load_source, names)) for names in (config.data.train, config.data.validation))
    if config.data.cache_decoded:
        sources = tuple(source.cache_decoded() for source in sources)
    if shared := _ids(sources) & _ids(held_out):
        raise ValueError(
            f"{len(shared)} images are in both config.data.train and config.data.validation, such as {min(shared)}; "
            "validation must hold photographs that training never sees"
        )
    for source in (*sources, *held_out):
        if source.passed_over:
            print_once(printable(f"{source.name}: {source.passed_over}"))
        require_sound(source, config.data.max_unreadable)
    return sources, held_out


def _ids(sources: tuple[Source, ...]) -> set[str]:
    return {name for source in sources for name in source.ids()}


def make_step_config(config: Config, partition: Partition) -> StepConfig:
    """Gather the model, the optimizer and all else that a step of this run needs to know."""
    train, optimizer = config.train, config.optimizer
    trainable = optimizer.trainable or trained_parts(config.model)
    if optimizer.trainable:
        require_trainable(variable_shapes(config.model)["params"], optimizer.trainable)
    if config.model.architecture in COMPARED:
        model = Trained(config.model, _execution(config))
    else:
        model = create_model(config.model, _execution(config))
    return StepConfig(
        model=model,
        optimizer=make_optimizer(optimizer, train.num_steps, trainable),
        loss=config.compared_loss if isinstance(model, Trained) else config.loss,
        trainable=trainable,
        constrain=constraint_of(config.model.architecture),
        grad_accum_steps=train.grad_accum_steps,
        grad_clip_norm=optimizer.grad_clip_norm,
        ema_decay=optimizer.ema_decay,
        spike=train.spike,
        shards=partition.shards,
    )


def _execution(config: Config) -> Execution:
    """Say how a run's network is computed."""
    train = config.train
    return Execution(
        dtype=jnp.dtype(train.precision),
        bn_axis=AXIS if train.sync_batch_norm else None,
        # Statistics of all parts at once need all of them at once; see accumulated_gradients.
        remat=train.remat or (train.sync_batch_norm and train.grad_accum_steps > 1),
    )


def create_train_state(context: TrainContext) -> TrainState:
    """Create the state before the first step, placed for it."""
    # Where a run's parameters come from:
    # 1. the newest checkpoint in its workdir, if there is one; config.train.init is not read then
    # 2. config.train.init, if it is not empty
    # 3. fresh ones drawn from config.seed, also for whatever 2 does not fill
    config, step_config = context.config, context.step_config
    rng, ema_params = jax.random.key(config.seed), bool(config.optimizer.ema_decay)
    state = init_state(step_config.model, step_config.optimizer, rng, ema_params)
    if config.train.init:
        fresh = {"params": state.params, "batch_stats": state.batch_stats}
        state = state_from(
            initial_variables(config.train.init, fresh, config.model), step_config.optimizer, rng, ema_params
        )
    return context.partition.from_stored(context.partition.device_put(state))
