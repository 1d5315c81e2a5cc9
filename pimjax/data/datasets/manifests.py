"""Datasets prepared as files and a CSV manifest of them, which a source csv:FILE reads."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pimjax.files import write_bytes, write_text


def add_file(folder: Path, name: str, content: bytes) -> str:
    """Write one file of a dataset, and return its name as the manifest in `folder` has it."""
    write_bytes(folder / name, content)
    return name


def write_manifest(path: Path, rows: Sequence[dict[str, str | int]]) -> Path:
    """Write rows of equal keys as CSV with a header, and return its path."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return path
