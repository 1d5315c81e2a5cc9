"""Whether weights are whole: checksums of arrays and files, and numbers that a network can compute with.

Checksums are CRC-32 as eight hexadecimal digits: they find damage, not intent.
"""

import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from pimjax.weights.unpickle import WeightsFileError

_VARIANCE = re.compile(r"(^|\.)(running_)?var$")  # PyTorch's name, and Flax's
_DERIVED = "attn_mask"  # no weight, and may hold -inf


def array_checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return a checksum for each array, over its name, dtype, shape and values."""
    found = {}
    for name, array in arrays.items():
        start = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode())
        found[name] = f"{zlib.crc32(np.asarray(array, order='C').data, start):08x}"
    return found


def file_checksums(folder: Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """Return a checksum for each file below `folder` by relative name; `names` are all that is asked for, if given."""
    found = {}
    wanted = None if names is None else set(names)
    for file in sorted(folder.rglob("*")):  # walked, not opened by name: a hostile name leads nowhere
        name = file.relative_to(folder).as_posix()
        if file.is_file() and (wanted is None or name in wanted):
            found[name] = f"{_crc32(file):08x}"
    return found


def _crc32(file: Path) -> int:
    checksum = 0
    with file.open("rb") as opened:
        while part := opened.read(1 << 20):
            checksum = zlib.crc32(part, checksum)
    return checksum


def compare_checksums(
    stored: Mapping[str, str], found: Mapping[str, str], where: Any, remedy: str = "fetch or convert the model anew"
) -> None:
    """Raise WeightsFileError where something `stored` is missing in `found` or differs.

    Args:
        stored: checksums that were written with the weights; without any, nothing is compared.
        found: those of what lies there now.
        where: how the error calls the weights.
        remedy: what the error says to do.
    """
    if odd := [name for name, checksum in stored.items() if found.get(name) != checksum]:
        raise WeightsFileError(
            f"{where}: damaged, or changed since pimjax wrote it: {odd[0]} lacks its checksum "
            f"({len(odd)} of {len(stored)} do); {remedy}"
        )


def damage(error: Exception) -> str:
    """Say in one line that a file is damaged, with the reason that its parser gave."""
    return f"damaged, or no weights file ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def check_values(arrays: Mapping[str, Any], where: Any, variances: bool = True) -> None:
    """Raise WeightsFileError, naming the first, for arrays with which no network computes anything.

    Those are numbers that are not finite as float32 and, unless `variances` is False, BatchNorm's variances below 0.
    `where` is how the error calls the weights.
    """
    faults = [
        f"{name} has {fault}"
        for name, array in arrays.items()
        if (fault := _not_finite(name, np.asarray(array)) or (variances and _negative(name, np.asarray(array))))
    ]
    if faults:
        more = f" ({len(faults)} arrays are like that)" if len(faults) > 1 else ""
        raise WeightsFileError(
            f"{where}: cannot be used: {faults[0]}{more}; damaged, or its training diverged: use another copy, or an "
            "earlier checkpoint"
        )


def _not_finite(name: str, array: np.ndarray) -> str:
    if not jnp.issubdtype(array.dtype, jnp.floating) or name.endswith(_DERIVED):  # numpy does not know bfloat16
        return ""
    with np.errstate(over="ignore", invalid="ignore"):
        single = array.astype(np.float32, copy=False)
        # A sum takes a tenth of the time of looking at each value, but may overflow.
        bad = 0 if np.isfinite(single.sum()) else array.size - np.count_nonzero(np.isfinite(single))
    if not bad:
        return ""
    large = np.count_nonzero(np.isfinite(array)) == array.size
    return f"{bad} of {array.size} values that are {'too large for float32' if large else 'not finite'}"


def _negative(name: str, array: np.ndarray) -> str:
    bad = np.count_nonzero(array < 0) if _VARIANCE.search(name) else 0
    return f"{bad} of {array.size} variances below 0" if bad else ""
