"""How a run is asked to end, and how it ends: SIGTERM, Ctrl-C, and one process of several that fails."""

import concurrent.futures
import contextlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax

from pimjax import shutdown
from pimjax.terminal import say, warn

T = TypeVar("T")


class Interrupt:
    """Turn the first SIGTERM (a preemption notice) or SIGINT (Ctrl-C) inside the block into `received`.

    A second SIGINT ends the run at once. So does SIGTERM while `nothing_to_save`: the exit status is 0 then, too.
    """

    received: int = 0  # the signal's number
    nothing_to_save = True

    def run(self, work: Callable[[], T]) -> T | None:
        """Run `work` in a thread, since Python answers signals only between its own instructions, not within JAX's.

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
    """End the other processes of a run with this one.

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
