"""Writing a split's records, one at a time."""

from collections.abc import Iterable
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordWriter


def write_records(records: Iterable[bytes], folder: Path, prefix: str, file_bytes: int) -> tuple[list[Path], list[int]]:
    """Writes array_record files of about `file_bytes` bytes each, in the records' order.

    Returns:
        The files, in order, and the number of records in each.
    """
    files: list[Path] = []
    lengths: list[int] = []
    writer, size = None, 0
    try:
        for record in records:
            if writer is None or size >= file_bytes:
                if writer is not None:
                    writer.close()
                files.append(folder / f"{prefix}.{len(files)}")
                lengths.append(0)
                writer, size = ArrayRecordWriter(str(files[-1]), "group_size:1"), 0
            writer.write(record)
            lengths[-1] += 1
            size += len(record)
    finally:
        if writer is not None:
            writer.close()
    return files, lengths
