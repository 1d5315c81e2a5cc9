"""Writing files: whole or not at all, never over what is not ours, one writer at a time; reading only regular files.

Beside the files that pimjax writes lies a record of them, `.pimjax-written.jsonl`: a line with the name, the size and
the CRC-32 of each. A file that the record does not know, or that somebody has changed since, is never replaced.
"""

import contextlib
import errno
import json
import os
import shutil
import stat
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None

RECORD = ".pimjax-written.jsonl"
PARTIAL = ".pimjax-partial"  # at the end of the stem of a file that is being written
MAX_FILE_BYTES = 512_000_000  # of a file that is read whole: a photo, a mask, a list

Row = dict[str, Any]


class ForeignFileError(ValueError):
    """A file is in the way that pimjax did not write, or that was changed since; the message names it."""


def write_bytes(path: str | os.PathLike, content: bytes | memoryview, ours: bool = False) -> None:
    """Write a file whole or not at all; missing folders are made.

    Args:
        path: the file. One that is there is replaced if pimjax wrote it and nobody changed it since.
        content: of the file.
        ours: the caller knows by other means that an existing file is pimjax's, such as a row that names it.

    Raises:
        ForeignFileError: another file of that name is there.
        OSError: it cannot be written; the message names the file and what to do.
    """
    with atomic_path(path, ours) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike, text: str, ours: bool = False) -> None:
    """Write text in UTF-8 as `write_bytes` does; what of a file's name is no text is escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"), ours)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, ours: bool = False) -> Iterator[Path]:
    """Yield a temporary name, of the same suffix, for a file that appears as `path` when the block ends well.

    For libraries that write files themselves. Arguments and errors are those of `write_bytes`.
    """
    path = Path(path)
    claim(path, ours)
    temporary = path.with_name(f".{path.stem[:100]}{PARTIAL}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # a link of that name would lead elsewhere
        yield temporary
        _note(path, temporary)  # before the name changes: a kill between the two leaves a file that is known
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def claim(path: str | os.PathLike, ours: bool = False) -> None:
    """Raise ForeignFileError if a file is at `path` that is not ours to replace; arguments as of `write_bytes`."""
    path = Path(path)
    if not os.path.lexists(path):
        return
    known = written(path.parent).get(path.name)
    if known is None and ours:
        return
    if path.is_symlink() or not path.is_file() or known is None or _digest(path) not in known:
        why = "was changed after pimjax wrote it" if known else "is not recorded as written by pimjax"
        raise ForeignFileError(f"{path}: exists and {why}; move it away, or give another --output")


def wrote(path: Path) -> bool:
    """Return whether the record beside it says that pimjax wrote a file of this name, or it is one half written."""
    return PARTIAL in path.name or path.name in written(path.parent)


def written(folder: Path) -> Mapping[str, set[tuple[int, int]]]:
    """Return what the record in `folder` says: for each name, the sizes and CRC-32s that pimjax gave the file."""
    record = folder / RECORD
    try:
        if not stat.S_ISREG(record.lstat().st_mode):  # a pipe would be waited for without an end
            return {}
        file = record.open("rb")
    except OSError:
        return {}
    with file:
        identity = os.fstat(file.fileno()).st_ino
        before = _records.get(record)
        if before is None or before.identity != identity:
            before = _Known(identity, 0, {})
        file.seek(before.end)  # only what was added since: a run that replaces many files asks for each
        lines = file.read().split(b"\n")
    for line in lines[:-1]:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a line cut off knows nothing
            row = json.loads(line)
            before.files.setdefault(str(row["file"]), set()).add((int(row["bytes"]), int(row["crc32"])))
    end = before.end + sum(len(line) + 1 for line in lines[:-1])
    _records[record] = _Known(identity, end, before.files)
    return before.files


class _Known(NamedTuple):
    """A record as far as it was read."""

    identity: int  # of its file
    end: int  # bytes
    files: dict[str, set[tuple[int, int]]]


_records: dict[Path, _Known] = {}


def _note(path: Path, temporary: Path) -> None:
    size, checksum = _digest(temporary)
    row = json.dumps({"file": path.name, "bytes": size, "crc32": checksum})
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    record = path.parent / RECORD
    if os.path.lexists(record) and not stat.S_ISREG(record.lstat().st_mode):  # a pipe would be waited for
        raise OSError(errno.EEXIST, f"{RECORD} beside it is no regular file")
    descriptor = os.open(record, flags, 0o666)
    try:
        # One call of the system, after a newline: what others append at the same time, or a full disk, spoils one line.
        line = f"\n{row}\n".encode()
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _digest(path: Path) -> tuple[int, int]:
    size = checksum = 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            size, checksum = size + len(part), zlib.crc32(part, checksum)
    return size, checksum


def cannot_write(path: str | os.PathLike, error: OSError) -> OSError:
    """Return the error for a file that cannot be written, naming it and what to do."""
    remedies = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room") | {errno.EACCES: "correct the permissions"}
    what = remedies.get(error.errno or 0, "correct the path")
    return OSError(f"{path}: cannot be written ({error.strerror or error}); {what}, then run the same command again")


def enough_room(folder: Path, needed: int) -> None:
    """Raise OSError, naming the folder, if its disk has fewer than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{folder}: {needed / 1e6:,.0f} MB are needed there, {free / 1e6:,.0f} MB are free; make room")


def lock_file(path: Path, taken: str) -> IO[str]:
    """Hold a lock until the file returned is closed, or the process ends in whatever way.

    Where the system or the file system has no locks, nothing is held.

    Args:
        path: the lock's file, which is made.
        taken: the ValueError's message if another process holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise cannot_write(path, error) from None
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(taken) from None
    except OSError:  # a file system without locks
        pass
    return file


def read_rows(path: Path, key: str = "number", without: str = "") -> tuple[dict[Any, Row], int]:
    """Return the rows of a file of JSON lines by their `key`, the newest of each, and how many bytes are whole lines.

    What is called `without` is left out of every row, where there may be too many of them to keep it in memory.

    Raises:
        ValueError: a line other than the last is damaged, or is no row with such a key.
    """
    rows: dict[Any, Row] = {}
    whole = 0
    if not path.exists():
        return rows, whole
    with path.open("rb") as file:
        for count, line in enumerate(file, 1):
            if not line.endswith(b"\n") and (count > 1 or line.startswith(b"{")):
                break  # cut off by a kill or a full disk
            try:
                row = json.loads(line)
                row.pop(without, None)
                rows[row[key]] = row
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                again = "delete the line and run the same command again"
                raise ValueError(f"{path}, line {count}: damaged; {again}") from None
            whole += len(line)
    return rows, whole


def printable(text: str) -> str:
    """Return text that a terminal shows as it is: control characters, and what of a file's name is no text, escaped."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in shown)


def read_regular(path: str | os.PathLike, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file, or of a link to one. Nothing else is opened: reading a pipe may never end.

    Args:
        path: the file. What a shell hands over below /dev/fd is read, whatever it is.
        max_bytes: the most that is read.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger; the message names it and what to do.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not os.fspath(path).startswith("/dev/fd/"):
            what = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
            raise OSError(f"{path}: {what}, not a file; give a regular file")
        with open(path, "rb") as file:
            content = file.read(max_bytes + 1)
    except ValueError as error:  # a NUL byte in the name
        raise OSError(f"{path}: cannot be read ({error}); correct the path") from None
    except OSError as error:
        if error.errno is None:
            raise
        why = error.strerror or error
        raise OSError(f"{path}: cannot be read ({why}); correct the path or the permissions") from None
    if len(content) > max_bytes:
        raise OSError(f"{path}: larger than the limit of {max_bytes / 1e6:,.0f} MB; is it the right file?")
    return content


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
