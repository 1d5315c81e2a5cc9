"""The processes of a plan: one a model, so many at a time, one display of how far they are."""

import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from pimjax.evaluation.benchmark import safe
from pimjax.evaluation.plan import Plan
from pimjax.evaluation.plan_run import UNSCORED, open_datasets, tasks_of
from pimjax.terminal import bar_interval

PAUSE = 0.5  # seconds between two looks
BEGIN = "----"  # of what one process says, in a log of several runs


def run_workers(plan: Plan, workers: int) -> tuple[dict[str, str], int]:
    """Score every model of the plan on what is missing.

    Args:
        plan: to be run.
        workers: how many processes run side by side.

    Returns:
        why models could not take part, by name, and how many models could not score some image.
    """
    sizes = {name: len(source) for name, source in open_datasets(plan).items()}  # a wrong source is told at once
    waiting = [entry.name for entry in plan.models]
    files = {task.folder / "images.jsonl": sizes[task.dataset] for model in waiting for task in tasks_of(plan, model)}
    failed: dict[str, str] = {}
    running: dict[str, subprocess.Popen] = {}
    unscored, lines = 0, LineCount()
    with tqdm(total=sum(files.values()), unit="image", dynamic_ncols=True, mininterval=bar_interval()) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    model = waiting.pop(0)
                    running[model] = _start(plan, model)
                bar.set_description(", ".join(running), refresh=False)
                time.sleep(PAUSE)
                for model in [model for model, process in running.items() if process.poll() is not None]:
                    status = running.pop(model).returncode
                    unscored += status == UNSCORED
                    if status not in (0, UNSCORED):
                        failed[model] = _last_words(_log(plan, model), status)
                bar.update(sum(min(lines.of(file), most) for file, most in files.items()) - bar.n)
                if sys.stderr.isatty():
                    bar.refresh()  # its clock runs on between two images
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait()
    return failed, unscored


class LineCount:
    """How many rows files have; each look reads what was added since the last one alone."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int]] = {}  # bytes read, lines in them

    def of(self, file: Path) -> int:
        """Return the number of lines of a file; 0 where there is none."""
        end, lines = self._known.get(file, (0, 0))
        try:
            with file.open("rb") as stream:
                stream.seek(end)
                added = stream.read()
        except OSError:
            return 0
        self._known[file] = end + len(added), lines + added.count(b"\n")
        return self._known[file][1]


def _start(plan: Plan, model: str) -> subprocess.Popen:
    """Start the process of a model; it ends when this one does, for its standard input ends then."""
    log = _log(plan, model)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        stream.write(f"{BEGIN}\n".encode())
        stream.flush()
        command = [sys.executable, "-m", "pimjax", "benchmark", str(plan.file), "--model", model, "--worker"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stream, stderr=subprocess.STDOUT)


def _log(plan: Plan, model: str) -> Path:
    return plan.output / "logs" / f"{safe(model)}.log"


def _last_words(log: Path, status: int) -> str:
    """Return the last line of a log that says why its process ended."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    words = "" if lines[-1:] == [BEGIN] else lines[-1].rpartition("\r")[2].removeprefix("error: ")
    return f"{words or 'its process said nothing'} (exit status {status}; {log})"
