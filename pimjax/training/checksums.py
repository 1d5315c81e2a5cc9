"""Checksums of a run's checkpoint: orbax's files have none of the numbers in them."""

import json
from collections.abc import Collection
from pathlib import Path

from pimjax.files import write_text
from pimjax.terminal import say
from pimjax.weights.integrity import compare_checksums, file_checksums
from pimjax.weights.unpickle import WeightsFileError

CHECKSUMS = "checksums.json"


def add_checksums(folder: Path, items: Collection[str]) -> None:
    """Write the checksums of a complete checkpoint's files, of those `items`, beside them.

    What fails, as on a full disk, is said and leaves a checkpoint that is read without being compared.
    """
    if not folder.is_dir():
        return
    try:
        found = {name: each for name, each in file_checksums(folder).items() if name.partition("/")[0] in items}
        write_text(folder / CHECKSUMS, json.dumps(found, indent=1))
    except (OSError, ValueError) as error:
        say(f"{folder.name} is complete, but has no checksums: {error}")


def check_checksums(folder: Path) -> None:
    """Raise WeightsFileError for a checkpoint that is damaged; one of an older pimjax has no checksums."""
    remedy = f"remove {folder} to use an earlier checkpoint"
    try:
        stored = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        raise WeightsFileError(f"{folder / CHECKSUMS}: damaged; {remedy}")
    compare_checksums(stored, file_checksums(folder, stored), folder, remedy)
