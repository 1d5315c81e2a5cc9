"""What the C library does with freed memory. Knows nothing of jax; does nothing where the library is not glibc."""

import contextlib
import ctypes

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
