"""Measurements as a table and as JSON."""

import datetime
import json
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pimjax
from pimjax.files import write_text
from pimjax.profiling.measure import Row, median

# Dense bfloat16 multiply-adds of one device, counted as two operations each, in 10¹² per second; vendors' data sheets.
PEAK = {
    "A100": 312,
    "H100 PCIe": 756,
    "H100": 989,
    "H200": 989,
    "L4": 121,
    "TPU v4": 275,
    "TPU v5 lite": 197,
    "TPU v5": 459,
    "TPU v6 lite": 918,
}


def machine() -> dict[str, Any]:
    """Return where and when: what the figures are worth depends on it."""
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu_name(),
        "cores": _usable_cores(),
        "system": platform.platform(),
        "version": pimjax.__version__,
    }


def _usable_cores() -> int | None:
    """Return the number of processors that this process may use; elsewhere than on Linux, of all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def fraction_of_peak(row: Row, precision: str) -> float | None:
    """Return operations per second over the device's peak; None where either is not known (such as for a CPU)."""
    peak = next(
        (value for name, value in PEAK.items() if re.search(rf"\b{name}\b(?! NVL)", row.get("device", ""))), None
    )
    seconds = median(row)
    if precision != "bfloat16" or not (peak and seconds and row.get("operations")):
        return None
    return row["operations"] / seconds / (peak * 1e12)


def table(rows: Sequence[Row], precision: str) -> str:
    """Return a Markdown row per case, the engines side by side."""
    compared = any(row["engine"] == "pytorch" for row in rows)
    header = ["task", "size", "batch", "compile s", "s (min … max)", "images/s", "ms/Mpixel", "peak GB", "G operations"]
    header += ["of peak"] if any(fraction_of_peak(row, precision) for row in rows) else []
    header += ["PyTorch s", "PyTorch GB", "ratio"] if compared else []
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    peers = {_case(row): row for row in rows if row["engine"] == "pytorch"}
    notes = [f"{row['engine']}, {' '.join(map(str, _case(row)))}: {row['error']}" for row in rows if "error" in row]
    for row in rows:
        if row["engine"] == "pimjax":
            cells = [row["task"], f"{row['size']}²", str(row["batch"]), *_figures(row)]
            if "of peak" in header:
                fraction = fraction_of_peak(row, precision)
                cells.append("–" if fraction is None else f"{fraction:.0%}")
            cells += _compared(row, peers.get(_case(row))) if compared else []
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *(f"\n{note}" for note in notes)])


def _case(row: Row) -> tuple[str, int, int]:
    return row["task"], row["size"], row["batch"]


def _figures(row: Row) -> list[str]:
    seconds = median(row)
    if seconds is None:
        return ["–"] * 6
    pixels = row["batch"] * row["size"] ** 2
    return [
        f"{row['compile_s']:.0f}",
        f"{seconds:.3g} ({min(row['seconds']):.3g} … {max(row['seconds']):.3g})",
        f"{row['batch'] / seconds:.3g}",
        f"{seconds / pixels * 1e9:,.1f}",
        _gigabytes(row),
        f"{row['operations'] / 1e9:,.1f}",
    ]


def _gigabytes(row: Row) -> str:
    return "–" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e9:.2f}"


def _compared(row: Row, other: Row | None) -> list[str]:
    seconds, theirs = median(row), median(other) if other else None
    if other is None or theirs is None:
        return ["–"] * 3
    ratio = "–" if seconds is None else f"{theirs / seconds:.2f}"
    return [f"{theirs:.3g}", _gigabytes(other), ratio]


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write everything that was measured; errors are those of `pimjax.files.write_bytes`."""
    write_text(path, json.dumps(result, indent=1) + "\n")
