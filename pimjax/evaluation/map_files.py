"""Reading a map of probabilities out of a file: PNG, NPY or NPZ, none of them larger than a photo can be."""

import math
import stat
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from pimjax.data.images import ImageError, decode_values, read_bytes, read_header
from pimjax.evaluation.predictors import checked_map

SUFFIXES = (".png", ".npy", ".npz")
MOST_PIXELS = 100_000_000
_MOST_BYTES = 8 * MOST_PIXELS + 4096  # a float64 per pixel, and a header


def read_map(path: Path) -> np.ndarray:
    """Return a map as float32 [h, w] in 0..1.

    8 or 16 bits are divided by 255 or 65,535; floats must be probabilities already.

    Raises:
        ImageError: it cannot be read, is no regular file, is larger than `MOST_PIXELS`, or is no such map.
    """
    try:
        values = _values(path)
    except ImageError:
        raise
    except Exception as error:  # whatever a damaged file does to a parser
        raise ImageError(f"{path}: no map can be read from it ({error}); write it anew") from None
    if values.dtype in (np.uint8, np.uint16) and values.size:
        if values.max() == 1:
            raise ImageError(
                f"{path}: its largest value is 1 of {np.iinfo(values.dtype).max}; write 0 and 255, or floats"
            )
        values = values / np.float32(np.iinfo(values.dtype).max)
    return checked_map(values, str(path))


def _values(path: Path) -> np.ndarray:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size > _MOST_BYTES:
        raise ValueError(f"it has {status.st_size:,} bytes, a map {_MOST_BYTES:,} at most")
    if path.suffix.lower() == ".png":
        encoded = read_bytes(path)
        header = read_header(encoded, str(path))
        if header.width * header.height > MOST_PIXELS:
            raise ValueError(f"it claims to be {header.width}×{header.height}, of more than {MOST_PIXELS:,} pixels")
        values = decode_values(encoded, str(path))
        return values[..., 0] if values.ndim == 3 and (values == values[..., :1]).all() else values
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return _array(file, status.st_size)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) != 1:
            raise ValueError(f"holds the arrays {', '.join(member.filename for member in members)}; save one")
        with archive.open(members[0]) as file:  # which gives no more bytes than the archive claims
            return _array(file, members[0].file_size)


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """Return the array of an NPY file of `size` bytes, whose header is believed only if the file is as large."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"its version {version} is not read")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if min(shape, default=0) < 0 or math.prod(shape) > MOST_PIXELS or dtype.itemsize > 16:
        raise ValueError(f"it claims to be {dtype} {list(shape)}, of more than {MOST_PIXELS:,} values")
    if file.tell() + math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"it claims to be {dtype} {list(shape)}, which its {size:,} bytes cannot hold")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
