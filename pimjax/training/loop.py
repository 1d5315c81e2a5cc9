"""A training run from its configuration: build, resume, compile, step, validate, summarise."""

import dataclasses
import functools
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from pimjax.config import Config
from pimjax.config_checks import check
from pimjax.data.images import write_png
from pimjax.data.named_sources import open_source
from pimjax.data.pipeline import train_batches, validation_set
from pimjax.data.sources import Source
from pimjax.evaluation.metrics import score, summarize
from pimjax.evaluation.validate import Predictions, predict_all, score_table, validation_sheet
from pimjax.inspection.judge import require_sound
from pimjax.inspection.sheets import caption_of
from pimjax.models.layers import Execution
from pimjax.models.pim import PIM
from pimjax.training import checkpoint, devices
from pimjax.training.initial import initial_variables
from pimjax.training.logs import BrokenImages, MetricLog
from pimjax.training.optimizer import make_optimizer
from pimjax.training.step import AXIS, TrainState, eval_step, init_state, predictions_of, train_step

Predict = Callable[[dict[str, Any], np.ndarray], Predictions]
SHEET_ROWS = 12  # examples on the contact sheet
ARRAYS = ("image", "mask", "boundary", "target")  # what of a batch goes to the devices


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same during a run."""

    config: Config
    model: PIM
    optimizer: optax.GradientTransformation
    devices: tuple[jax.Device, ...]
    sources: tuple[Source, ...]
    examples: dict[str, np.ndarray]  # the fixed validation set

    @property
    def workdir(self) -> Path:
        """Where logs, checkpoints and pictures go."""
        return Path(self.config.workdir)


def run(config: Config) -> list[dict[str, Any]]:
    """Trains, or goes on training, until `config.train.steps`; then summarises the best checkpoint.

    Returns:
        the rows of `pimjax.evaluation.metrics.summarize` on the validation set.

    Raises:
        ValueError, FileNotFoundError: the configuration, the data or an existing checkpoint cannot be used; nothing
            was overwritten.
    """
    check(config)
    setup = prepare(config)
    with checkpoint.open_checkpoints(setup.workdir) as checkpoints:
        if checkpoints.latest_step() is None:
            state = devices.replicate(first_state(setup), setup.devices)
        else:
            state = checkpoint.restore_newest(checkpoints, shapes_of_state(setup), config)
            print(f"resuming {setup.workdir} from step {int(state.step)}")
        start = int(state.step)
        predict = make_predict(setup.model)
        if start < config.train.steps:
            train(setup, state, checkpoints, predict)
    return summarise(setup, predict)


def first_state(setup: Run) -> TrainState:
    """The state before the first step."""
    # Where a run's parameters come from:
    # 1. the newest checkpoint in its workdir, if there is one; config.train.init is not read then
    # 2. config.train.init, if it is not empty
    # 3. fresh ones drawn from config.seed, also for whatever 2 does not fill
    config = setup.config
    state = init_state(setup.model, setup.optimizer, jax.random.key(config.seed))
    if config.train.init:
        fresh = {"params": state.params, "batch_stats": state.batch_stats}
        variables = initial_variables(config.train.init, fresh, config.model)
        state = state.replace(**variables)
    return state


def shapes_of_state(setup: Run) -> TrainState:
    """What `first_state` returns, replicated, without computing it."""
    shapes = jax.eval_shape(functools.partial(init_state, setup.model, setup.optimizer), jax.random.key(0))
    sharding = devices.replicated(setup.devices)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)


def _ids(sources: tuple[Source, ...]) -> set[str]:
    return {name for source in sources for name in source.ids()}


def prepare(config: Config) -> Run:
    """Opens the data and builds the model; nothing is written."""
    local = tuple(jax.local_devices())
    devices.check_batch_size(config.data.batch_size, len(local), config.train.accumulate)
    sources, held_out = (tuple(map(open_source, names)) for names in (config.data.train, config.data.validation))
    if shared := _ids(sources) & _ids(held_out):
        raise ValueError(
            f"{len(shared)} images are in both config.data.train and config.data.validation, such as {min(shared)}; "
            "validation must hold photographs that training never sees"
        )
    for source in (*sources, *held_out):
        require_sound(source, config.data.max_broken)
    examples = validation_set(held_out, config.data, config.pida, config.seed)
    execution = Execution(
        dtype=jnp.dtype(config.train.precision),
        bn_axis=AXIS if config.train.sync_batch_norm else None,
        remat=config.train.remat,
    )
    model = PIM(config.model, execution)
    images, validation = sum(map(len, sources)), len(examples["id"])
    print(f"{images} training images, {validation} validation examples, {len(local)} × {local[0].device_kind}")
    return Run(config, model, make_optimizer(config.optimizer), local, sources, examples)


def train(setup: Run, state: TrainState, checkpoints: Any, predict: Predict) -> None:
    """The loop proper, from `state` to the last step. SIGINT (Ctrl-C) saves a checkpoint first."""
    config, start = setup.config, int(state.step)
    batches = train_batches(setup.sources, config.data, config.pida, config.seed, start, config.train.steps)
    broken = BrokenImages(sum(map(len, setup.sources)), config.data.max_broken)
    key = devices.replicate(jax.random.key(config.seed), setup.devices)
    step_fn = None
    log = MetricLog(setup.workdir, start + 1)
    throughput = Throughput(config.data.batch_size)
    pending: tuple[int, dict[str, jax.Array]] | None = None
    with (
        tqdm(total=config.train.steps, initial=start, unit="step", dynamic_ncols=True) as bar,
        Interrupt() as interrupt,
    ):
        for step in range(start + 1, config.train.steps + 1):
            host_batch = next(batches)
            broken.note(host_batch["skipped"].tolist())
            batch = devices.split_batch(
                {name: host_batch[name] for name in ARRAYS}, config.train.mapping, setup.devices
            )
            if step_fn is None:
                step_fn = compile_step(setup, state, batch, key)
                throughput.restart(start)
            state, metrics = step_fn(state, batch, key)
            # Read one step late: the device already works on this step while the host waits for the previous one.
            report(log, bar, pending, throughput, config.train.log_every)
            pending = (step, metrics)

            last = step == config.train.steps or interrupt.received
            validates = step % config.train.validate_every == 0 or step == config.train.steps
            scores = None
            if validates or last or step % config.train.checkpoint_every == 0:
                # What a checkpoint covers must be logged before it: a resumed run does not come back to it.
                report(log, bar, pending, throughput, config.train.log_every)
                pending = None
                check_finite(step, metrics)
            if validates:
                scores = validate(setup, predict, state)
                log.write(step, {f"validation/{name}": value for name, value in scores.items()})
                bar.write(f"step {step}: validation F1 {scores['f1']:.3f}, IoU {scores['iou']:.3f}")
                throughput.restart(step)
            if pending is None:
                checkpoint.save(checkpoints, state, config, scores)
            if last:
                break
    checkpoints.wait_until_finished()
    log.close()
    if broken.messages:
        print(f"{len(broken.messages)} unreadable training images were skipped, {sum(broken.messages.values())} times")
    if interrupt.received and step < config.train.steps:
        raise SystemExit(f"interrupted at step {step}, checkpoint saved; the same command resumes")


def compile_step(setup: Run, state: TrainState, batch: dict[str, jax.Array], key: jax.Array) -> Callable[..., Any]:
    """The mapped training step, compiled ahead so that compilation is neither a step nor a surprise."""
    step = functools.partial(
        train_step, setup.model, setup.optimizer, setup.config.loss, accumulate=setup.config.train.accumulate
    )
    began = time.perf_counter()
    compiled = devices.map_step(step, setup.config.train.mapping, setup.devices).lower(state, batch, key).compile()
    tqdm.write(f"training step compiled in {time.perf_counter() - began:.0f} s")
    return compiled


def make_predict(model: PIM, everything: bool = False) -> Predict:
    """(variables, uint8 images [B, S, S, 3]) → predictions, compiled when first called; the mask, or `everything`."""

    @jax.jit
    def forward(variables: dict[str, Any], images: jax.Array) -> Predictions:
        mask, *others = predictions_of(eval_step(model, variables, images))
        return Predictions(mask, *others) if everything else Predictions(mask, None, None)

    return forward


def validate(setup: Run, predict: Predict, state: TrainState) -> dict[str, float]:
    """Mean scores over the validation set, convention "pim", threshold 0.5."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    predictions = predict_set(setup, predict, variables, setup.examples["image"])
    return score(predictions.mask, setup.examples["mask"])


def predict_set(setup: Run, predict: Predict, variables: dict[str, Any], images: np.ndarray) -> Predictions:
    """Predictions for uint8 images [N, S, S, 3], on the host, in batches as large as those of training."""
    batch_size = min(setup.config.data.batch_size, len(images))
    return predict_all(functools.partial(predict, variables), images, batch_size)


def summarise(setup: Run, predict: Predict) -> list[dict[str, Any]]:
    """Scores the best checkpoint, prints the table, writes `summary.json` and `contact_sheet.png`."""
    variables, _ = checkpoint.load_variables(setup.workdir)
    # Placed as in training, so that what was compiled there serves here.
    variables = devices.replicate(variables, setup.devices)
    predictions = predict_set(setup, predict, variables, setup.examples["image"])
    rows = summarize(predictions.mask, setup.examples["mask"])
    print(f"\nbest checkpoint (by F1) on {len(predictions.mask)} validation examples:\n\n{score_table(rows)}\n")
    (setup.workdir / "summary.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    shown = {name: array[:SHEET_ROWS] for name, array in setup.examples.items()}
    pictured = predict_set(setup, make_predict(setup.model, everything=True), variables, shown["image"])
    captions = [caption_of(recipe) for recipe in shown["recipe"].tolist()]
    sheet = setup.workdir / "contact_sheet.png"
    write_png(sheet, validation_sheet(shown, pictured, captions))
    print(f"pictures: {sheet}")
    return rows


def check_finite(step: int, metrics: dict[str, jax.Array]) -> None:
    """Raises ValueError where the loss is not a number, before such a state is saved or scored."""
    if not np.isfinite(loss := float(metrics["loss/total"])):
        raise ValueError(
            f"the loss is {loss} at step {step}; the newest checkpoint is sound: "
            "resume from it in a new workdir with a smaller --config.optimizer.learning_rate"
        )


def report(
    log: MetricLog,
    bar: tqdm,
    pending: tuple[int, dict[str, jax.Array]] | None,
    throughput: "Throughput",
    log_every: int,
) -> None:
    """Shows a finished step on the bar, and logs it if its number is a multiple of `log_every`."""
    if pending is None:
        return
    step, metrics = pending
    bar.update()
    if step % log_every == 0:
        check_finite(step, metrics)
        scalars = {name: float(value) for name, value in jax.device_get(metrics).items()}
        rate = throughput.measure(step)
        log.write(step, scalars | {"images_per_second": rate})
        bar.set_postfix_str(f"loss {scalars['loss/total']:.4f}, {rate:.1f} images/s")


class Throughput:
    """Images per second between two finished steps. `restart` leaves out what was no training (compiling, scoring)."""

    def __init__(self, batch_size: int):
        self._batch_size, self._rate = batch_size, 0.0
        self.restart(0)

    def restart(self, step: int) -> None:
        """Counts anew from `step`, just finished."""
        self._step, self._began = step, time.perf_counter()

    def measure(self, step: int) -> float:
        """Images per second up to `step`, just finished, since the last call of either method."""
        if step > self._step:
            self._rate = (step - self._step) * self._batch_size / (time.perf_counter() - self._began)
            self.restart(step)
        return self._rate


class Interrupt:
    """Turns the first Ctrl-C inside the block into the flag `received`; a second one ends the run at once."""

    received = False

    def __enter__(self) -> "Interrupt":
        def note(signum: int, frame: Any) -> None:
            self.received = True
            signal.signal(signal.SIGINT, signal.default_int_handler)

        self._previous = signal.signal(signal.SIGINT, note)
        return self

    def __exit__(self, *exception: Any) -> None:
        signal.signal(signal.SIGINT, self._previous)
