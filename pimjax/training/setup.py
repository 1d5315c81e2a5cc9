"""What a run needs before its first step: devices, data, model, and the state to start from."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from pimjax.config import Config
from pimjax.data.named_sources import open_source
from pimjax.data.pipeline import validation_set
from pimjax.data.sources import Source
from pimjax.files import printable
from pimjax.inspection.judge import require_sound
from pimjax.models.layers import Execution
from pimjax.models.networks import build_network
from pimjax.training.devices import Layout, all_devices, check_batch_size
from pimjax.training.initial import initial_variables
from pimjax.training.optimizer import make_optimizer
from pimjax.training.processes import tell
from pimjax.training.progress import telling
from pimjax.training.shards import AXIS
from pimjax.training.step import Recipe, TrainState, init_state, state_from


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same during a run."""

    config: Config
    layout: Layout
    recipe: Recipe
    sources: tuple[Source, ...]
    examples: dict[str, np.ndarray]  # the fixed validation set, whole in every process

    @property
    def workdir(self) -> Path:
        """Where logs, checkpoints and pictures go."""
        return Path(self.config.workdir)

    @functools.cached_property
    def shapes(self) -> TrainState:
        """The state's arrays as they are stored, without computing them."""
        initial = functools.partial(
            init_state, self.recipe.model, self.recipe.optimizer, average=bool(self.config.optimizer.ema)
        )
        return jax.eval_shape(initial, jax.random.key(0))


def prepare(config: Config) -> Run:
    """Opens the data and builds the model; nothing is written.

    Raises:
        ValueError, FileNotFoundError: the configuration or the data cannot be used.
    """
    devices = all_devices()
    check_batch_size(config.data.batch_size, len(devices), config.train.accumulate)
    layout = Layout(devices, config.train.mapping, len(devices) if config.train.shard_optimizer else 1)
    with telling(f"reading {len(config.data.train) + len(config.data.validation)} sources"):
        sources, held_out = _open_sources(config)
    with telling("making the validation set"):
        examples = validation_set(held_out, config.data, config.pida, config.seed)
    images, validation = sum(map(len, sources)), len(examples["id"])
    where = f"{len(devices)} × {devices[0].device_kind}"
    if layout.processes > 1:
        where += f" in {layout.processes} processes"
    tell(f"{images} training images, {validation} validation examples, {where}")
    return Run(config, layout, make_recipe(config, layout), sources, examples)


def _open_sources(config: Config) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """The sources of training and of validation; ValueError if they share an image, or some cannot be used."""
    sources, held_out = (tuple(map(open_source, names)) for names in (config.data.train, config.data.validation))
    if config.data.keep_decoded:
        sources = tuple(source.keep_decoded() for source in sources)
    if shared := _ids(sources) & _ids(held_out):
        raise ValueError(
            f"{len(shared)} images are in both config.data.train and config.data.validation, such as {min(shared)}; "
            "validation must hold photographs that training never sees"
        )
    for source in (*sources, *held_out):
        if source.passed_over:
            tell(printable(f"{source.name}: {source.passed_over}"))
        require_sound(source, config.data.max_broken)
    return sources, held_out


def _ids(sources: tuple[Source, ...]) -> set[str]:
    return {name for source in sources for name in source.ids()}


def make_recipe(config: Config, layout: Layout) -> Recipe:
    """The model, the optimiser and all else that a step of this run needs to know."""
    train = config.train
    execution = Execution(
        dtype=jnp.dtype(train.precision),
        bn_axis=AXIS if train.sync_batch_norm else None,
        # Statistics of all parts at once need all of them at once; see accumulated_gradients.
        remat=train.remat or (train.sync_batch_norm and train.accumulate > 1),
    )
    return Recipe(
        model=build_network(config.model, execution),
        optimizer=make_optimizer(config.optimizer, train.steps),
        loss=config.loss,
        accumulate=train.accumulate,
        clip=config.optimizer.clip,
        ema=config.optimizer.ema,
        spike=train.spike,
        shards=layout.shards,
    )


def first_state(setup: Run) -> TrainState:
    """The state before the first step, placed for it."""
    # Where a run's parameters come from:
    # 1. the newest checkpoint in its workdir, if there is one; config.train.init is not read then
    # 2. config.train.init, if it is not empty
    # 3. fresh ones drawn from config.seed, also for whatever 2 does not fill
    config, recipe = setup.config, setup.recipe
    key, average = jax.random.key(config.seed), bool(config.optimizer.ema)
    state = init_state(recipe.model, recipe.optimizer, key, average)
    if config.train.init:
        fresh = {"params": state.params, "batch_stats": state.batch_stats}
        state = state_from(initial_variables(config.train.init, fresh, config.model), recipe.optimizer, key, average)
    return setup.layout.from_stored(setup.layout.place(state))
