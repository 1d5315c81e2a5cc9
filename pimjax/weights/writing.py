"""How a model takes its name on disk: whole or not at all, and never over what is not pimjax's."""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from absl import logging

from pimjax.files import ForeignFileError, atomic_path, cannot_write

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_model(path: Path, ours: bool) -> Iterator[Path]:
    """Yield a temporary name for a file, or a directory if `path` has no suffix, that appears when the block ends well.

    Args:
        path: the model's. A file that pimjax wrote is replaced; a directory must not be there.
        ours: a file is there that pimjax wrote, though no record may know it.

    Raises:
        ForeignFileError: a file is there that is not pimjax's.
        OSError: it cannot be written; the message names `path` and what to do.
    """
    if not path.suffix:
        with _appearing_directory(path) as temporary:
            yield temporary
        return
    try:
        with atomic_path(path, ours) as temporary:
            yield temporary
            _to_disk(temporary)
    except ForeignFileError:
        raise ForeignFileError(
            f"{path}: exists and is no model that pimjax wrote, or was changed since; move it away, or choose another "
            "name"
        ) from None


@contextlib.contextmanager
def _appearing_directory(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        _to_disk(*temporary.rglob("*"))
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        for _ in range(50):  # orbax's threads go on writing for a moment
            shutil.rmtree(temporary, ignore_errors=True)
            if not temporary.exists():
                break
            time.sleep(0.1)


def _to_disk(*files: Path) -> None:
    for file in files:
        if file.is_file():
            # Or the name could reach the disk before the numbers. Windows flushes only what is open for writing.
            with file.open("r+b") as written:
                os.fsync(written.fileno())


def reserve(folder: Path, sizes: Iterable[int]) -> None:
    """Raise OSError if the disk does not take files of these sizes, in bytes, together, where the system can tell.

    Orbax would find out in many threads, each of which prints a traceback whenever it likes.
    """
    files: list[Path] = []
    try:
        for size in sizes:
            files.append(folder / f"reserved-{len(files)}")
            with files[-1].open("wb") as file:
                if size and hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in _FULL:
            raise
    finally:
        for file in files:
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def as_system_errors() -> Iterator[None]:
    """Turn what safetensors, orbax and tensorstore raise when they cannot write into OSError."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)  # or orbax prints a traceback of each of its threads
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        number = next((n for n in _FULL if os.strerror(n) in str(error)), None)
        reason = os.strerror(number) if number else " ".join(str(error).split())[-200:]
        raise OSError(number or errno.EIO, reason) from error
    finally:
        logging.set_verbosity(before)
