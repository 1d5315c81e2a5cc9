"""Printing: on any terminal, in any encoding, above any progress bar, with whatever names files have."""

import os
import shlex
import sys
from collections.abc import Iterable
from typing import TextIO

from tqdm import tqdm

from pimjax.files import printable


def accept_any_text() -> None:
    """Make standard output and error escape what their encoding lacks; closed ones become the null device."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 — for as long as we live
        elif hasattr(stream, "reconfigure"):  # what tests and notebooks put there may lack it
            stream.reconfigure(errors="backslashreplace")


def command_line() -> str:
    """Return the command that runs, to be kept with what it makes."""
    return shlex.join(["pimjax", *sys.argv[1:]])


def bar_interval() -> float:
    """Return the least seconds between two looks of a progress bar: in a log, every one is a line that stays."""
    return 0.1 if sys.stderr.isatty() else 30.0


def say(*lines: str) -> None:
    """Print lines on standard output. Control characters in them are escaped, newlines too, but not tabs.

    Whoever joins a table's cells by tabs or bars escapes each with `pimjax.files.printable` before.
    """
    _write(("\t".join(map(printable, line.split("\t"))) for line in lines), sys.stdout)


def warn(*lines: str) -> None:
    """Print lines on standard error, tabs escaped, too."""
    _write(map(printable, lines), sys.stderr)


def _write(lines: Iterable[str], file: TextIO) -> None:
    try:
        tqdm.write("\n".join(lines), file=file)
        file.flush()
    except BrokenPipeError:
        raise  # who read along has left: `pimjax.shutdown`
    except OSError as error:
        raise OSError(f"what is printed cannot be written ({error.strerror}); make room where it goes") from None
