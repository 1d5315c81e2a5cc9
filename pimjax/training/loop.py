"""A training run: build, resume, then step by step: next batch, step, report, evaluate, checkpoint."""

import contextlib
import functools
import time
from collections.abc import Callable
from typing import IO, Any, cast

import jax
import numpy as np

from pimjax.config import Config
from pimjax.config.networks import COMPARED
from pimjax.config.validate import check
from pimjax.data.pipeline import train_batches
from pimjax.files import enough_room
from pimjax.training.checkpoint import Checkpoints
from pimjax.training.checkpoint_and_eval import CheckpointAndEval
from pimjax.training.distributed import is_lead_host, lock_workdir, print_once
from pimjax.training.finished import claim_results, finished_summary
from pimjax.training.metric_writer import disk_errors
from pimjax.training.progress import timed_phase
from pimjax.training.reporting import PendingStep, StepReporter, UnreadableImages, report_unreadable
from pimjax.training.setup import TrainContext, create_train_context, create_train_state
from pimjax.training.signals import Interrupt, exit_together
from pimjax.training.step import TrainState, train_step
from pimjax.training.validation import Predict, make_predict, print_summary, write_summary

ARRAYS = ("image", "mask", "boundary", "target")  # what of a batch goes to the devices


def run(config: Config) -> list[dict[str, Any]]:
    """Train, or go on training, until `config.train.num_steps`; then summarize the best checkpoint.

    Every process of a run that has several calls this, after `pimjax.training.distributed.initialize_distributed`.

    Returns:
        the rows of `pimjax.training.validation.summarize` on the validation set; none if the run was asked to end
        (SIGTERM) and has saved a checkpoint instead.

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
            _locked_workdir(context),
            Checkpoints(config, context.partition, context.shapes) as checkpoints,
            exit_together(),
        ):
            claim_results(context.workdir, resumed=checkpoints.newest is not None)
            enough_room(
                context.workdir, sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(context.shapes))
            )
            state = restore_or_create(context, checkpoints)
            predict = make_predict(context.step_config.model, context.partition)
            if not train(context, state, checkpoints, predict, interrupt):
                return []
            interrupt.nothing_to_save = True
            best, variables = checkpoints.best_variables()
            return write_summary(context, predict, variables, best)


def _locked_workdir(context: TrainContext) -> contextlib.AbstractContextManager[IO[str] | None]:
    return lock_workdir(context.workdir) if is_lead_host() else contextlib.nullcontext()


def restore_or_create(context: TrainContext, checkpoints: Checkpoints) -> TrainState:
    """Read the newest checkpoint's state, or create that of a run that begins; print which."""
    if checkpoints.newest is None:
        with timed_phase("making the initial parameters"):
            return jax.block_until_ready(create_train_state(context))
    with timed_phase(f"reading the checkpoint of step {checkpoints.newest}"):
        state = checkpoints.restore()
    print_once(f"resuming {context.workdir} from step {int(state.step)}")
    return state


def train(
    context: TrainContext, state: TrainState, checkpoints: Checkpoints, predict: Predict, interrupt: Interrupt
) -> bool:
    """Train from `state` to the last step; return False if the run was asked to end before."""
    config, start, num_steps = context.config.train, int(state.step), context.config.train.num_steps
    batches = _batches(context, start)
    unreadable = UnreadableImages(sum(map(len, context.sources)), context.config.data.max_unreadable)
    step_fn, pending = None, None
    with contextlib.closing(StepReporter(context, start)) as reporter:
        checkpoint_and_eval = CheckpointAndEval(context, checkpoints, predict, interrupt, reporter)
        if not checkpoint_and_eval.catch_up(state):
            return checkpoint_and_eval.finish(start)
        for step in range(start + 1, num_steps + 1):
            # Next batch.
            waiting = time.perf_counter()
            host_batch = next(batches)
            reporter.throughput.waited(time.perf_counter() - waiting)
            unreadable.note(host_batch["skipped"].tolist())
            batch = put_batch(context, host_batch, bool(interrupt.received))
            # Step.
            if step_fn is None:
                step_fn = compile_step(context, state, batch, interrupt)
                reporter.throughput.restart(start)
                interrupt.nothing_to_save = False
            reporter.profile(step)
            state, metrics = step_fn(state, batch)
            # Report, one step late: the device works on this step while the host waits for the one before.
            ends = reporter.read(pending)
            pending = PendingStep(step, metrics, host_batch["id"].tolist())
            # Evaluate and checkpoint. One process alone need not wait until the devices hear of a signal.
            last = step == num_steps or ends or bool(context.partition.processes == 1 and interrupt.received)
            evaluates = step % config.validate_every == 0 or step == num_steps
            if evaluates or last or step % config.checkpoint_every == 0:
                # What a checkpoint covers must be logged before it: a resumed run does not come back to it.
                last |= reporter.read(pending)
                pending = None
                if not checkpoint_and_eval.save(state, evaluates) or last:
                    break
            checkpoints.settle()
    report_unreadable(unreadable)
    return checkpoint_and_eval.finish(int(state.step))


def _batches(context: TrainContext, start: int) -> Any:
    config = context.config
    where = {"process_index": jax.process_index(), "process_count": context.partition.processes}
    return train_batches(context.sources, config.data, config.pida, config.seed, start, config.train.num_steps, **where)


def put_batch(context: TrainContext, host_batch: dict[str, np.ndarray], stop: bool) -> dict[str, jax.Array]:
    """Return this process's part of a batch on its devices, and whether it was asked to end."""
    names = (*ARRAYS, "full") if context.config.model.architecture in COMPARED else ARRAYS
    arrays = {name: host_batch[name] for name in names}
    arrays["stop"] = np.full(len(arrays["image"]), stop)
    return context.partition.split_batch(arrays)


def compile_step(
    context: TrainContext, state: TrainState, batch: dict[str, jax.Array], interrupt: Interrupt
) -> Callable[..., Any]:
    """Compile the mapped training step ahead, so that compilation is neither a step nor a surprise."""
    mapped = context.partition.map_step(functools.partial(train_step, context.step_config), context.shapes)
    with timed_phase("compiling the training step"):
        return cast(Callable[..., Any], interrupt.run(lambda: mapped.lower(state, batch).compile()))
