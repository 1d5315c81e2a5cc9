"""A training run from its configuration: build, resume, compile, step, validate, summarize."""

import contextlib
import functools
import json
import math
import signal
import time
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from pimjax.config import Config
from pimjax.config.validate import check
from pimjax.data.pipeline import train_batches
from pimjax.files import enough_room
from pimjax.training.checkpoint import Checkpoints
from pimjax.training.distributed import (
    Interrupt,
    exit_now,
    exit_together,
    gather_strings,
    is_lead_host,
    lock_workdir,
    print_once,
)
from pimjax.training.finished import claim_results, finished_summary
from pimjax.training.optimizer import make_schedule
from pimjax.training.prediction_tables import Predictions
from pimjax.training.progress import timed_phase
from pimjax.training.reporting import MetricWriter, Throughput, UnreadableImages, disk_errors
from pimjax.training.setup import TrainContext, create_train_context, create_train_state
from pimjax.training.step import TrainState, train_step
from pimjax.training.validation import Predict, make_predict, print_summary, sheet, validate, write_summary

ARRAYS = ("image", "mask", "boundary", "target")  # what of a batch goes to the devices
MOST_SKIPPED = 20  # bad steps in a row after which skipping is no help


def run(config: Config) -> list[dict[str, Any]]:
    """Train, or goes on training, until `config.train.num_steps`; then summarizes the best checkpoint.

    In every process of a run that has several, after `pimjax.training.distributed.initialize_distributed`.

    Returns:
        the rows of `pimjax.training.prediction_tables.summarize` on the validation set; none if the run was asked to
        end (SIGTERM) and has saved a checkpoint instead.

    Raises:
        ValueError, FileNotFoundError: the configuration, the data or an existing checkpoint cannot be used, and
            nothing was overwritten; or a bad step stopped the run.
        OSError: the last checkpoint could not be written.
        KeyboardInterrupt: Ctrl-C; the checkpoint was saved.
    """
    check(config)
    with Interrupt() as interrupt, disk_errors():
        if (rows := finished_summary(config)) is not None:
            print_once(f"{config.workdir}: complete; what its last start wrote:")
            print_summary(config, rows)
            return rows
        context = create_train_context(config)
        with (
            _workdir(context),
            Checkpoints(config, context.partition, context.shapes) as checkpoints,
            exit_together(),
        ):
            claim_results(context.workdir, resumed=checkpoints.newest is not None)
            enough_room(
                context.workdir, sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(context.shapes))
            )
            if checkpoints.newest is None:
                with timed_phase("making the initial parameters"):
                    state = jax.block_until_ready(create_train_state(context))
            else:
                with timed_phase(f"reading the checkpoint of step {checkpoints.newest}"):
                    state = checkpoints.restore()
                print_once(f"resuming {context.workdir} from step {int(state.step)}")
            predict = make_predict(context.step_config.model, context.partition)
            if not train(context, state, checkpoints, predict, interrupt):
                return []
            interrupt.nothing_to_save = True
            return write_summary(context, predict, checkpoints.best_variables(), checkpoints.best)


def _workdir(context: TrainContext) -> contextlib.AbstractContextManager[IO[str] | None]:
    return lock_workdir(context.workdir) if is_lead_host() else contextlib.nullcontext()


class PendingStep(NamedTuple):
    """A step that was given to the devices, to be read when it is done."""

    step: int
    metrics: dict[str, jax.Array]
    ids: list[str]  # of this process's images


def train(
    context: TrainContext, state: TrainState, checkpoints: Checkpoints, predict: Predict, interrupt: Interrupt
) -> bool:
    """Return the loop proper, from `state` to the last step; False if it was asked to end before."""
    config, start, processes = context.config, int(state.step), context.partition.processes
    batches = train_batches(
        context.sources,
        config.data,
        config.pida,
        config.seed,
        start,
        config.train.num_steps,
        process_index=jax.process_index(),
        process_count=processes,
    )
    broken = UnreadableImages(sum(map(len, context.sources)), config.data.max_unreadable)
    step_fn, pending = None, None
    with contextlib.closing(StepReporter(context, start)) as reader:
        keeper = CheckpointAndEval(context, checkpoints, predict, interrupt, reader)
        if not keeper.catch_up(state):
            return keeper.finish(start)
        for step in range(start + 1, config.train.num_steps + 1):
            waiting = time.perf_counter()
            host_batch = next(batches)
            reader.pace.waited(time.perf_counter() - waiting)
            broken.note(host_batch["skipped"].tolist())
            batch = put_batch(context, host_batch, bool(interrupt.received))
            if step_fn is None:
                step_fn = compile_step(context, state, batch, interrupt)
                reader.pace.restart(start)
                interrupt.nothing_to_save = False
            reader.profile(step)
            state, metrics = step_fn(state, batch)
            # Read one step late: the device already works on this step while the host waits for the previous one.
            ends = reader.read(pending)
            pending = PendingStep(step, metrics, host_batch["id"].tolist())

            # One process alone need not wait until the devices hear of it.
            last = step == config.train.num_steps or ends or bool(processes == 1 and interrupt.received)
            validates = step % config.train.validate_every == 0 or step == config.train.num_steps
            if validates or last or step % config.train.checkpoint_every == 0:
                # What a checkpoint covers must be logged before it: a resumed run does not come back to it.
                last |= reader.read(pending)
                pending = None
                if not keeper.keep(state, validates) or last:
                    break
            checkpoints.settle()
    report_unreadable(broken)
    return keeper.finish(int(state.step))


def put_batch(context: TrainContext, host_batch: dict[str, np.ndarray], stop: bool) -> dict[str, jax.Array]:
    """Return this process's part of a batch on its devices, and whether it was asked to end."""
    arrays = {name: host_batch[name] for name in ARRAYS}
    arrays["stop"] = np.full(len(arrays["image"]), stop)
    return context.partition.split_batch(arrays)


def compile_step(
    context: TrainContext, state: TrainState, batch: dict[str, jax.Array], interrupt: Interrupt
) -> Callable[..., Any]:
    """Return the mapped training step, compiled ahead so that compilation is neither a step nor a surprise."""
    mapped = context.partition.map_step(functools.partial(train_step, context.step_config), context.shapes)
    with timed_phase("compiling the training step"):
        return interrupt.run(lambda: mapped.lower(state, batch).compile())


class CheckpointAndEval:
    """Validates and saves states, and ends a run that was asked to end."""

    def __init__(
        self,
        context: TrainContext,
        checkpoints: Checkpoints,
        predict: Predict,
        interrupt: Interrupt,
        reader: "StepReporter",
    ):
        self._context, self._checkpoints, self._predict = context, checkpoints, predict
        self._interrupt, self._reader = interrupt, reader
        self._abandoned = False  # a validation, to end sooner
        self._validated = False  # in this start of the run

    def catch_up(self, state: TrainState) -> bool:
        """Validate a state that was saved without, because the run was asked to end. False if it is so again."""
        step, train = int(state.step), self._context.config.train
        due = step and (step % train.validate_every == 0 or step == train.num_steps)
        return not due or self._checkpoints.was_validated(step) or self.keep(state, validates=True)

    def keep(self, state: TrainState, validates: bool) -> bool:
        """Save the state, with its scores if it `validates`. False if that was broken off by a signal."""
        scores = None
        if validates:
            first = timed_phase("validating for the first time, which compiles")
            with contextlib.nullcontext() if self._validated else first:
                outcome = self._interrupt.run(lambda: validate(self._context, self._predict, state))
            self._validated = True
            self._abandoned = outcome is None
            if outcome is not None:
                scores, predictions = outcome
                self._reader.validation(int(state.step), scores, predictions)
        self._checkpoints.save(state, scores)
        return not self._abandoned

    def finish(self, step: int) -> bool:
        """Wait until `step`, the last, is on disk: whether the run is complete, or was asked to end.

        Raises:
            OSError: it could not be written.
            KeyboardInterrupt: the user's, now that nothing is lost.
        """
        if not self._checkpoints.settle(wait=True) or self._checkpoints.newest != step:
            raise OSError(
                f"{self._context.workdir}: the checkpoint of step {step} could not be written; make room, and the same "
                "command goes on from the one before"
            )
        if step >= self._context.config.train.num_steps and not self._abandoned:
            return True
        text = f"checkpoint of step {step} saved; the same command resumes"
        if self._interrupt.received == signal.SIGINT:
            raise KeyboardInterrupt(f"interrupted: {text}")
        if self._abandoned:  # its thread is still at work
            exit_now(f"asked to end: {text}", 0)
        print_once(f"asked to end: {text}")
        return False


class StepReporter:
    """Reads finished steps on the host: progress bar, log, profile, bad steps. The first process alone writes."""

    def __init__(self, context: TrainContext, start: int):
        config = context.config
        self._context, self._skipped, self._tracing = context, 0, False
        self._schedule = make_schedule(config.optimizer, config.train.num_steps)
        self._log = MetricWriter(config, start + 1) if is_lead_host() else None
        self._bar = tqdm(
            total=config.train.num_steps, initial=start, unit="step", dynamic_ncols=True, disable=not is_lead_host()
        )
        self.pace = Throughput(config.data.batch_size)

    def close(self) -> None:
        """Finish bar and log."""
        self._stop_profile()
        self._bar.close()
        if self._log:
            self._log.close()

    def profile(self, step: int) -> None:
        """Start the trace that `config.profile.steps` asks for, if `step` is its first."""
        steps = self._context.config.profile.steps
        if is_lead_host() and steps and step == steps[0]:
            jax.profiler.start_trace(str(self._context.workdir / "profile"))
            self._tracing = True

    def _stop_profile(self) -> None:
        if self._tracing:
            jax.profiler.stop_trace()
            self._bar.write(f"profile: {self._context.workdir / 'profile'}")
        self._tracing = False

    def read(self, finished: PendingStep | None) -> bool:
        """Wait for a step, shows it, and logs it if its number is a multiple of `config.train.log_every`.

        Returns:
            whether some process was asked to end.

        Raises:
            ValueError: the step was bad, and the configuration says to stop.
        """
        if finished is None:
            return False
        config, step = self._context.config, finished.step
        metrics = {name: float(value) for name, value in jax.device_get(finished.metrics).items()}
        self._bar.update()
        if config.profile.steps and step == config.profile.steps[1]:
            self._stop_profile()
        ends, bad = bool(metrics.pop("stop")), bool(metrics.pop("bad"))
        if bad:
            self._report_bad(finished, metrics)
        self._skipped = self._skipped + 1 if bad else 0
        if self._log and step % config.train.log_every == 0:
            pace = self.pace.measure(step)
            self._log.write(step, metrics | {"learning_rate": float(self._schedule(step - 1))} | pace)
            if pace:
                self._bar.set_postfix_str(
                    f"loss {metrics['loss/total']:.4f}, {pace['images_per_second']:.1f} images/s"
                    + (f", {pace['data_wait']:.0%} waiting for data" if pace["data_wait"] > 0.1 else "")
                )
        return ends

    def validation(self, step: int, scores: dict[str, float], predictions: Predictions) -> None:
        """Log the scores of a validation, and pictures of it."""
        if self._log:
            self._log.write(step, {f"validation/{name}": value for name, value in scores.items()})
            self._log.picture(step, "validation", sheet(self._context, predictions))
            self._bar.write(f"step {step}: validation F1 {scores['f1']:.3f}, IoU {scores['iou']:.3f}")
        self.pace.restart(step)

    def _report_bad(self, finished: PendingStep, metrics: dict[str, float]) -> None:
        step, loss, norm = finished.step, metrics["loss/total"], metrics["gradient_norm"]
        ids = gather_strings(finished.ids)
        file = self._context.workdir / "bad_steps.jsonl"
        if is_lead_host():
            with file.open("a", encoding="utf-8") as lines:
                numbers = {"loss": loss if math.isfinite(loss) else None}
                numbers["gradient_norm"] = norm if math.isfinite(norm) else None
                lines.write(json.dumps({"step": step, **numbers, "ids": ids}) + "\n")
        text = f"step {step} is bad (loss {loss:.4g}, gradient norm {norm:.4g}); its {len(ids)} images are in {file}"
        remedy = "start in a new workdir with a smaller --config.optimizer.learning_rate"
        if self._context.config.train.bad_step == "stop":
            raise ValueError(
                f"{text}. No checkpoint holds anything of it. Look at them; then resume past it with "
                f"--config.train.bad_step=skip, or {remedy}"
            )
        if self._skipped >= MOST_SKIPPED:
            raise ValueError(f"{text}, and {MOST_SKIPPED} steps before it were skipped already; {remedy}")
        self._bar.write(f"{text}; skipped")


def report_unreadable(broken: UnreadableImages) -> None:
    """Say how many images could not be read, in all processes."""
    messages = gather_strings([message for message, times in broken.messages.items() for _ in range(times)])
    if messages:
        print_once(f"{len(set(messages))} unreadable training images were skipped, {len(messages)} times")
