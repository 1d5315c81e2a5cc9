"""What is known of a run that is complete already: its summary, read instead of computed again."""

import json
from pathlib import Path
from typing import Any

import jax

from pimjax.config import Config
from pimjax.files import ForeignFileError, claim, read_rows
from pimjax.training.checkpoint import check_same_run
from pimjax.training.metric_writer import LOG
from pimjax.weights.runs import FOLDER, open_manager, stored_config

SUMMARY, PICTURES = "summary.json", "contact_sheet.png"


def claim_results(workdir: Path, resumed: bool) -> None:
    """Raise ForeignFileError if the run would replace a file, or forget lines of a log, that is not a run's.

    Args:
        workdir: of the run.
        resumed: a checkpoint of the run is there, so what an older pimjax wrote and did not record is the run's too.
    """
    for name in (SUMMARY, PICTURES):
        try:
            claim(workdir / name, ours=resumed)
        except ForeignFileError as error:
            raise ForeignFileError(str(error).replace("another --output", "another --config.workdir")) from None
    log = workdir / LOG
    if not resumed and log.exists() and not _is_log(log):
        raise ForeignFileError(f"{log}: exists and is not a run's log; move it away, or give another --config.workdir")


def _is_log(path: Path) -> bool:
    """Return whether every line is one that a run writes; the last may be cut off."""
    try:
        rows, _ = read_rows(path, "step")
    except (ValueError, OSError):
        return False
    return all(isinstance(step, int) and "time" in row for step, row in rows.items())


def finished_summary(config: Config) -> list[dict[str, Any]] | None:
    """Return the rows of `summary.json` if they are of this run, complete, and of its best checkpoint; else None.

    Raises:
        ValueError: the checkpoints are of another configuration.
    """
    workdir = Path(config.workdir)
    if jax.process_count() > 1 or not (workdir / FOLDER).is_dir() or not (workdir / PICTURES).is_file():
        return None
    try:
        rows = json.loads((workdir / SUMMARY).read_text(encoding="utf-8"))
        step, f1 = int(rows[0]["step"]), float(rows[0]["mean"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None  # not there, or of an older pimjax
    with open_manager(workdir, read_only=True) as manager:
        newest = manager.latest_step()
        if newest is None or newest < config.train.num_steps or not manager.metrics(newest):
            return None
        check_same_run(stored_config(manager, newest), config, manager.directory)
        if manager.best_step() != step or abs(manager.metrics(step)["f1"] - f1) > 1e-6:
            return None
    return rows
