"""The memory of this process: how much it held, and what becomes of what is freed. Knows nothing of jax."""

import contextlib
import ctypes
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

# Parameters of mallopt(3), from <malloc.h>, and their values.
_KEEP = {-4: 0, -1: -1, -8: 1}  # M_MMAP_MAX none, M_TRIM_THRESHOLD never, M_ARENA_MAX one


def keep_freed_memory() -> None:
    """Keep what this process frees for its next arrays, until it ends; to be called before there are threads.

    Otherwise the gigabytes of a training step on a CPU go back to Linux after each step and return page by page,
    zeroed, in the next: a quarter of the step's time.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for parameter, value in _KEEP.items():
            mallopt(parameter, value)


def return_freed_memory() -> None:
    """Give what is free now back to the system, once."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def forget_peak() -> None:
    """Let `resident_peak` start anew, where Linux permits it: compiling takes more memory than running."""
    return_freed_memory()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def resident_peak() -> int | None:
    """Return the most memory this process has held since `forget_peak`, in bytes; None where nobody says."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):
        if resource is None:
            return None
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
