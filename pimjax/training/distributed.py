"""Many processes of one run: how they find each other, the little they tell each other, and how they end."""

import concurrent.futures
import contextlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from pimjax import shutdown
from pimjax.files import lock_file
from pimjax.terminal import say, warn

T = TypeVar("T")
PATIENCE = 60  # seconds after which a silent process counts as dead, and the others end


def initialize_distributed(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Make this process one of several; before anything else asks JAX for devices.

    Args:
        coordinator: HOST:PORT on which the process of index 0 listens, and how many there are, and which this one is:
            all three, or None for what the cluster's environment says (SLURM, TPU pod, GKE, Open MPI).
        count: of processes.
        index: of this one.

    Raises:
        ValueError: neither was given enough, nor does the environment tell; or the others did not come.
    """
    given = [value is not None for value in (coordinator, count, index)]
    if any(given) and not all(given):
        raise ValueError("--coordinator=HOST:PORT, --process_count=N and --process_index=I belong together; give all")
    # A request to end is agreed on within the step: see the batch's "stop".
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            index,
            heartbeat_timeout_seconds=PATIENCE,
            shutdown_timeout_seconds=PATIENCE,
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"the processes of this run cannot be joined ({error}); start one on every host within 5 minutes: by "
            "SLURM, on a TPU pod or GKE with --distributed, elsewhere with --coordinator=HOST:PORT --process_count=N "
            "--process_index=I"
        ) from None


def is_lead_host() -> bool:
    """Return whether this is the process that writes logs and pictures."""
    return jax.process_index() == 0


def print_once(text: str) -> None:
    """Print, in the first process only."""
    if is_lead_host():
        say(*text.split("\n"))


def gather_strings(strings: list[str]) -> list[str]:
    """Return those of all processes, in their order. All must call this."""
    if jax.process_count() == 1:
        return strings
    own = np.frombuffer("\0".join(strings).encode(), np.uint8)
    sizes = np.ravel(multihost_utils.process_allgather(np.array([len(own)])))
    padded = np.pad(own, (0, int(sizes.max()) - len(own)))
    rows = multihost_utils.process_allgather(padded).reshape(len(sizes), -1)
    texts = (bytes(row[:size]).decode() for row, size in zip(rows.astype(np.uint8), sizes, strict=True))
    return [string for text in texts if text for string in text.split("\0")]


def lock_workdir(workdir: Path) -> IO[str]:
    """Hold `workdir` for this run until the file returned is closed, or the process ends in whatever way.

    Raises:
        ValueError: another run holds it.
    """
    return lock_file(
        workdir / ".lock",
        f"{workdir}: another run is at work there; wait for it, or give this one another --config.workdir. "
        "The processes of one run must be joined: --distributed, or --coordinator",
    )


class Interrupt:
    """Turns the first SIGTERM (a preemption notice) or SIGINT (Ctrl-C) inside the block into `received`.

    A second SIGINT ends the run at once. So does SIGTERM while `nothing_to_save`: the exit status is 0 then, too.
    """

    received: int = 0  # the signal's number
    nothing_to_save = True

    def run(self, work: Callable[[], T]) -> T | None:
        """Return `work()` in a thread, since Python answers signals only between its own instructions, not within
        JAX's.

        Returns:
            None if a signal came before it was done, in a run of one process; `work` goes on until the process ends.
        """
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

        def follow() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=follow, daemon=True).start()
        while not outcome.done():
            if self.received and jax.process_count() == 1:
                return None
            concurrent.futures.wait([outcome], timeout=0.1)
        return outcome.result()

    def __enter__(self) -> "Interrupt":
        self._previous = {}
        if threading.current_thread() is threading.main_thread():  # no other may ask for signals
            self._previous = {name: signal.signal(name, self._note) for name in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number: int, frame: Any) -> None:
        self.received = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.nothing_to_save:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            exit_now("asked to end: nothing to save since the last checkpoint", 0)

    def __exit__(self, *exception: Any) -> None:
        for name, handler in self._previous.items():
            signal.signal(name, handler)


def exit_now(message: str, status: int) -> None:
    """End this process and its workers at once, whatever its threads are doing or waiting for."""
    (warn if status else say)(*message.split("\n"))
    shutdown.exit_now(status)


@contextlib.contextmanager
def exit_together() -> Iterator[None]:
    """Return what ends this process ends the others too, of a run that has several.

    An orderly exit would wait for them, and they, within a step, for this one.
    """
    try:
        yield
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        if isinstance(error, jax.errors.JaxRuntimeError):
            hint = "probably another process of this run has ended: see what it says; the same commands resume"
            exit_now(f"error: {' '.join(str(error).split())}\n{hint}", 1)
        if not isinstance(error, (ValueError, OSError, KeyboardInterrupt)):
            traceback.print_exc()
        exit_now(f"error: {error}", 1)
