"""Running cases: each engine in a process of its own, taking turns, so that what slows the machine slows both."""

import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from tqdm import tqdm

from pimjax.allocator import forget_peak, keep_freed_memory
from pimjax.profiling import pytorch
from pimjax.profiling.cases import Case, Subject, prepare_pimjax
from pimjax.shutdown import ignore_interrupts

Row = dict[str, Any]
ENGINES: dict[str, Callable[[Case], Subject]] = {"pimjax": prepare_pimjax, "pytorch": pytorch.prepare_pytorch}


def measure(cases: Sequence[Case], engines: Sequence[str], repeats: int) -> Iterator[list[Row]]:
    """Yield case by case a row per engine: its facts, "seconds" (one per repeat), "peak_bytes"; or "error" instead.

    Every engine first runs once unmeasured; then they take turns.
    """
    with tqdm(total=len(cases) * len(engines) * repeats, unit="run", disable=None, dynamic_ncols=True) as bar:
        for case in cases:
            bar.set_description(f"{case.task} {case.size}² × {case.batch}")
            yield _measure_case(case, engines, repeats, bar)


def _measure_case(case: Case, engines: Sequence[str], repeats: int, bar: tqdm) -> list[Row]:
    rows = [{"engine": e, "task": case.task, "size": case.size, "batch": case.batch, "seconds": []} for e in engines]
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(_child(engine, case)) for engine in engines]
        for row, child in zip(rows, children, strict=True):
            row |= _ask(child, "prepare")
            if "error" in row:
                child.close()  # which ends the process: its memory is the others'
        for _ in range(repeats):
            for row, child in zip(rows, children, strict=True):
                if "error" not in row:
                    answer = _ask(child, "run")
                    row["seconds"] += [answer.pop("seconds")] if "seconds" in answer else []
                    row |= answer
                bar.update()
    return rows


@contextlib.contextmanager
def _child(engine: str, case: Case) -> Iterator[Connection]:
    # Spawned, not forked: a fresh process has no other's memory, threads or devices.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, engine, case), daemon=True)
    with ignore_interrupts():
        process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(timeout=10)
        process.kill()
        process.join()


def _ask(child: Connection, question: str) -> Row:
    try:
        child.send(question)
        return child.recv()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return {"error": "its process ended, as Linux ends those for which memory is lacking"}


def _serve(connection: Connection, engine: str, case: Case) -> None:
    """Answer "prepare" and "run" until the pipe closes: the child's side."""
    subject: Any = None
    # Two processes share an accelerator: neither may take all of its memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if case.task == "train":
        keep_freed_memory()  # as train.py does on a CPU; for every engine alike
    with contextlib.suppress(EOFError):
        while question := connection.recv():
            try:
                if question == "prepare":
                    subject = ENGINES[engine](case)
                    subject.run()
                    forget_peak()
                    connection.send(subject.facts)
                else:
                    began = time.perf_counter()
                    subject.run()
                    connection.send({"seconds": time.perf_counter() - began, "peak_bytes": subject.peak_memory()})
            except Exception as error:  # whatever it is, it is this case's result, and the others go on
                connection.send({"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]})


def median(row: Row) -> float | None:
    """Return the median seconds of a run; None where none succeeded."""
    return statistics.median(row["seconds"]) if row["seconds"] else None
