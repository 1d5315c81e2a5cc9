"""What a run tells: JSON lines, TensorBoard, a progress bar, and the images it could not read."""

import json
import os
import time
from pathlib import Path

from tensorboardX import SummaryWriter
from tqdm import tqdm


class MetricLog:
    """Scalars by step, to `metrics.jsonl` and to TensorBoard event files in `workdir`.

    A resumed run forgets the lines at and after `start_step`, which it is about to compute again.
    """

    def __init__(self, workdir: Path, start_step: int):
        workdir.mkdir(parents=True, exist_ok=True)
        self._path = workdir / "metrics.jsonl"
        _keep_before(self._path, start_step)
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step, flush_secs=10)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Adds one line {"step": …, "time": seconds since 1970, …}."""
        scalars = {name: float(value) for name, value in scalars.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 3), **scalars}) + "\n")
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes TensorBoard's file."""
        self._board.close()


def _keep_before(path: Path, start_step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] < start_step:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            continue  # the half line of a killed run
    new = path.with_suffix(".tmp")
    new.write_text("".join(kept), encoding="utf-8")
    os.replace(new, path)


class BrokenImages:
    """Counts the training images that could not be read, names each once, and stops a run with too many of them."""

    def __init__(self, images: int, max_share: float):
        self.images, self.max_share = images, max_share
        self.messages: dict[str, int] = {}  # message → how often it was met

    def note(self, skipped: list[str]) -> None:
        """Takes the "skipped" entries of a batch.

        Raises:
            ValueError: more than `max_share` of all images turned out to be unreadable.
        """
        for message in (line for entry in skipped for line in entry.splitlines()):
            if message not in self.messages:
                tqdm.write(f"skipped: {message}")
            self.messages[message] = self.messages.get(message, 0) + 1
        if len(self.messages) > self.max_share * self.images:
            raise ValueError(
                f"{len(self.messages)} of {self.images} training images cannot be read, more than "
                f"config.data.max_broken = {self.max_share} allows; repair the data or raise that share. "
                f"The first: {next(iter(self.messages))}"
            )
