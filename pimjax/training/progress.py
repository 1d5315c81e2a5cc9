"""What a run says before its first step and after its last: each piece of work, and how long it takes."""

import contextlib
import threading
import time
from collections.abc import Iterator

from pimjax.training.distributed import print_once

HEARTBEAT = 15.0  # seconds between signs of life


@contextlib.contextmanager
def timed_phase(work: str) -> Iterator[None]:
    """Say that `work` begins, every `HEARTBEAT` that it goes on, and how long it took; in the first process only."""
    began, done = time.perf_counter(), threading.Event()

    def go_on() -> None:
        while not done.wait(HEARTBEAT):
            print_once(f"{work} … {time.perf_counter() - began:.0f} s")

    print_once(f"{work} …")
    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    print_once(f"{work}: {time.perf_counter() - began:.1f} s")
