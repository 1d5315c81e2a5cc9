"""Writing a split's records, one at a time."""

import errno
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from pimjax.files import cannot_write


def write_records(records: Iterable[bytes], folder: Path, prefix: str, file_bytes: int) -> tuple[list[Path], list[int]]:
    """Write array_record files of about `file_bytes` bytes each, in the records' order.

    Returns:
        The files, in order, and the number of records in each.

    Raises:
        OSError: a file cannot be written; the message names it and says what to do.
    """
    files: list[Path] = []
    lengths: list[int] = []
    records = iter(records)
    for first in records:
        files.append(folder / f"{prefix}.{len(files)}")
        lengths.append(_write_file(files[-1], itertools.chain([first], records), file_bytes))
    return files, lengths


def _write_file(file: Path, records: Iterable[bytes], file_bytes: int) -> int:
    """Write records until there are enough; return how many."""
    count = size = 0
    writer = ArrayRecordWriter(str(file), "group_size:1")
    try:
        for record in records:
            writer.write(record)
            count, size = count + 1, size + len(record)
            if size >= file_bytes or not writer.ok():
                break
    finally:
        _close(writer, file)
    return count


def _close(writer: ArrayRecordWriter, file: Path) -> None:
    """Close a writer, which tells only now what went wrong, in words."""
    try:
        writer.close()
    except RuntimeError as error:
        codes = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
        code = next((code for code in codes if os.strerror(code) in str(error)), errno.EIO)
        raise cannot_write(file, OSError(code, os.strerror(code))) from None


def count_records(file: Path) -> int:
    """Return how many records a file says it has; 0 if it is cut off. None of them is read."""
    try:
        return ArrayRecordReader(str(file)).num_records()
    except Exception:  # whatever a damaged file does to array_record
        return 0
