"""When a run evaluates and saves, and how it ends."""

import contextlib
import signal

from pimjax.training.checkpoint import Checkpoints
from pimjax.training.distributed import print_once
from pimjax.training.progress import timed_phase
from pimjax.training.reporting import StepReporter
from pimjax.training.setup import TrainContext
from pimjax.training.signals import Interrupt, exit_now
from pimjax.training.step import TrainState
from pimjax.training.validation import Predict, validate


class CheckpointAndEval:
    """Validate and save states, and end a run that was asked to end."""

    def __init__(
        self,
        context: TrainContext,
        checkpoints: Checkpoints,
        predict: Predict,
        interrupt: Interrupt,
        reporter: StepReporter,
    ):
        self._context, self._checkpoints, self._predict = context, checkpoints, predict
        self._interrupt, self._reporter = interrupt, reporter
        self._abandoned = False  # a validation, to end sooner
        self._validated = False  # in this start of the run

    def catch_up(self, state: TrainState) -> bool:
        """Validate a state that was saved without, because the run was asked to end. False if it is so again."""
        step, train = int(state.step), self._context.config.train
        due = step and (step % train.validate_every == 0 or step == train.num_steps)
        return not due or self._checkpoints.was_validated(step) or self.save(state, evaluates=True)

    def save(self, state: TrainState, evaluates: bool) -> bool:
        """Save the state, with its scores if it `evaluates`. False if that was broken off by a signal."""
        scores = None
        if evaluates:
            first = timed_phase("validating for the first time, which compiles")
            with contextlib.nullcontext() if self._validated else first:
                outcome = self._interrupt.run(lambda: validate(self._context, self._predict, state))
            self._validated = True
            self._abandoned = outcome is None
            if outcome is not None:
                scores, predictions = outcome
                self._reporter.validation(int(state.step), scores, predictions)
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
