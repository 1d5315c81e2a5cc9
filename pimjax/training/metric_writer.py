"""A run's log: JSON lines, TensorBoard event files, Weights & Biases; a full disk does not end the run."""

# pyright: reportMissingImports=false
# (of an optional package)

import contextlib
import dataclasses
import errno
import json
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

from pimjax.config import Config
from pimjax.files import cannot_write
from pimjax.terminal import say

LOG = "metrics.jsonl"


class MetricWriter:
    """Write scalars and pictures by step: `metrics.jsonl`, TensorBoard event files, W&B if `config.train.wandb`.

    A resumed run forgets the lines at and after `start_step`, which it is about to compute again. On a full disk the
    run goes on: lines wait in memory until there is room.
    """

    def __init__(self, config: Config, start_step: int):
        workdir = Path(config.workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        self._path, self._unwritten, self._complained = workdir / LOG, b"", False
        _keep_before(self._path, start_step)
        self._wandb = _start_wandb(config, workdir) if config.train.wandb else None
        self._board = _Board(workdir / "tensorboard", self._complain)
        self._board.add(Event(step=start_step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add one line {"step": …, "time": seconds since 1970, …}."""
        scalars = {name: float(value) for name, value in scalars.items()}
        numbers = {name: value if math.isfinite(value) else None for name, value in scalars.items()}  # JSON has no NaN
        line = json.dumps({"step": step, "time": round(time.time(), 3), **numbers}) + "\n"
        self._unwritten += line.encode()
        try:
            _append(self._path, self._unwritten)
            self._unwritten = b""
        except OSError as error:
            self._complain(error)
        values = [value for name, number in scalars.items() for value in summary.scalar(name, number).value]
        self._board.add(Event(step=step, summary=Summary(value=values)))
        if self._wandb is not None:
            self._wandb.log({"step": step, **scalars})

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Add an image, uint8 [H, W, 3]."""
        self._board.add(Event(step=step, summary=summary.image(name, image, dataformats="HWC")))
        if self._wandb is not None:
            import wandb

            self._wandb.log({"step": step, name: wandb.Image(image)})

    def close(self) -> None:
        """Write what can be written."""
        if self._unwritten:
            try:
                _append(self._path, self._unwritten)
            except OSError as error:
                self._complain(error)
        self._board.close()
        if self._wandb is not None:
            self._wandb.finish()

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            say(f"the log cannot be written for now, training goes on: {error}")
        self._complained = True


class _Board:
    """Write TensorBoard's event files, here and now.

    tensorboardX's own thread would die of a full disk, and the run wait for it for ever. What was written of a file
    when the disk was full may end in half an event; the next goes into a new file.
    """

    FLUSH = 10  # seconds at most until others see what was written

    def __init__(self, folder: Path, complain: Callable[[OSError], None]):
        folder.mkdir(exist_ok=True)
        self._prefix, self._complain = str(folder / "events"), complain
        self._file: EventsWriter | None = None
        self._files, self._flushed = 0, 0.0

    def add(self, event: Event) -> None:
        """Write an event, or say why that failed."""
        event.wall_time = time.time()
        try:
            if self._file is None:
                self._files += 1
                self._file = EventsWriter(self._prefix, f".{os.getpid()}.{self._files}")
            self._file.write_event(event)
            if time.monotonic() - self._flushed > self.FLUSH:
                self._file.flush()
                self._flushed = time.monotonic()
        except OSError as error:
            self._file = None
            self._complain(error)

    def close(self) -> None:
        """Write what waits."""
        try:
            if self._file is not None:
                self._file.close()
        except OSError as error:
            self._complain(error)


def _start_wandb(config: Config, workdir: Path) -> Any:
    try:
        import wandb
    except ImportError:
        raise ValueError("config.train.wandb needs Weights & Biases: pip install 'pimjax[wandb]'") from None
    identity = workdir / "wandb_id"
    if not identity.exists():
        identity.write_text(uuid.uuid4().hex, encoding="utf-8")
    run = wandb.init(
        project=config.train.wandb,
        name=workdir.name,
        id=identity.read_text(encoding="utf-8"),
        resume="allow",
        dir=str(workdir),
        config=dataclasses.asdict(config),
    )
    run.define_metric("*", step_metric="step")  # a resumed run may go back some steps
    return run


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Add file and remedy to a full or read-only disk's error inside the block."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) and error.filename:
            raise cannot_write(error.filename, error) from None
        raise


def _append(path: Path, data: bytes) -> None:
    """Append all of `data` or nothing."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(file).st_size
        try:
            while data:
                data = data[os.write(file, data) :]
        except OSError:
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)


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
    new = path.with_name(f".{path.name}.new")
    new.write_text("".join(kept), encoding="utf-8")
    os.replace(new, path)
