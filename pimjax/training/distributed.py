"""Many processes of one run: how they find each other, the little they tell each other, and how they end."""

from pathlib import Path
from typing import IO

import jax
import numpy as np
from jax.experimental import multihost_utils

from pimjax.files import lock_file
from pimjax.terminal import say

PATIENCE = 60  # seconds after which a silent process counts as dead, and the others end


def initialize_distributed(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Make this process one of several; before anything else asks JAX for devices.

    Args:
        coordinator: HOST:PORT on which the process of index 0 listens, and how many there are, and which this one is:
            all three, or None for what the cluster's environment says (SLURM, TPU pod, GKE, Open MPI).
        count: of processes.
        index: of this one.

    Raises:
        ValueError: neither was given enough, nor does the environment tell; or the others did not come.
    """
    given = [value is not None for value in (coordinator, count, index)]
    if any(given) and not all(given):
        raise ValueError("--coordinator=HOST:PORT, --process_count=N and --process_index=I belong together; give all")
    # A request to end is agreed on within the step: see the batch's "stop".
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            index,
            heartbeat_timeout_seconds=PATIENCE,
            shutdown_timeout_seconds=PATIENCE,
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"the processes of this run cannot be joined ({error}); start one on every host within 5 minutes: by "
            "SLURM, on a TPU pod or GKE with --distributed, elsewhere with --coordinator=HOST:PORT --process_count=N "
            "--process_index=I"
        ) from None


def is_lead_host() -> bool:
    """Return whether this is the process that writes logs and pictures."""
    return jax.process_index() == 0


def print_once(text: str) -> None:
    """Print, in the first process only."""
    if is_lead_host():
        say(*text.split("\n"))


def gather_strings(strings: list[str]) -> list[str]:
    """Gather the strings of all processes, in their order. All must call this."""
    if jax.process_count() == 1:
        return strings
    own = np.frombuffer("\0".join(strings).encode(), np.uint8)
    sizes = np.ravel(multihost_utils.process_allgather(np.array([len(own)])))
    padded = np.pad(own, (0, int(sizes.max()) - len(own)))
    rows = multihost_utils.process_allgather(padded).reshape(len(sizes), -1)
    texts = (bytes(row[:size]).decode() for row, size in zip(rows.astype(np.uint8), sizes, strict=True))
    return [string for text in texts if text for string in text.split("\0")]


def lock_workdir(workdir: Path) -> IO[str]:
    """Hold `workdir` for this run until the file returned is closed, or the process ends in whatever way.

    Raises:
        ValueError: another run holds it.
    """
    return lock_file(
        workdir / ".lock",
        f"{workdir}: another run is at work there; wait for it, or give this one another --config.workdir. "
        "The processes of one run must be joined: --distributed, or --coordinator",
    )
