"""PyTorch's files of weights (.pth) as numpy arrays and back, without PyTorch and without executing anything."""

import functools
import io
import math
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.weights.unpickle import STORAGES, Storage, Tensor, WeightsFileError, expect, storage_dtype, unpickle

LARGEST_PICKLE = 16 << 20  # bytes; the released checkpoint's has 60 thousand
LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_torch(path: Path) -> Any:
    """Return what a .pth holds, in PyTorch's zip container or its older one: plain containers, numbers and `Tensor`s.

    Raises:
        WeightsFileError: the file names something that is no tensor, container or number, or claims what it does not
            hold. Other damage passes through as whatever the parsers of zip and pickle raise.
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise WeightsFileError(f"{path}: empty; fetch or save it anew")
        memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return _read_zip(path, memory) if memory[:4] == b"PK\3\4" else _read_legacy(path, memory)


def _storage_of(pid: tuple) -> tuple[np.dtype, str, int]:
    """Return dtype, key and number of elements from a persistent id ("storage", type, key, location, numel, …)."""
    kind, storage_type, key, _, numel = pid[:5]
    if kind != "storage" or expect(numel, int) < 0:
        raise ValueError("a persistent id that is no storage")
    return storage_dtype(storage_type), expect(key, str), numel


def _read_zip(path: Path, memory: memoryview) -> Any:
    with zipfile.ZipFile(path) as container:
        entries = {info.filename.partition("/")[2]: info for info in container.infolist()}

    @functools.cache
    def entry(name: str) -> memoryview:
        return _zip_entry(memory, entries[name])

    def storage(pid: tuple) -> Storage:
        dtype, key, numel = _storage_of(pid)
        return Storage(dtype, numel, functools.partial(entry, f"data/{key}"))

    if sum(info.file_size for info in entries.values()) > len(memory):
        raise ValueError("a zip file whose parts overlap")
    if "data.pkl" not in entries:
        raise WeightsFileError(f"{path}: a zip file, but not PyTorch's: it has no data.pkl; give the checkpoint itself")
    if "byteorder" in entries and entry("byteorder") != b"little":
        raise WeightsFileError(f"{path}: written on a big-endian machine; save it anew on another")
    if len(entry("data.pkl")) > LARGEST_PICKLE:
        raise WeightsFileError(f"{path}: its data.pkl has over {LARGEST_PICKLE} bytes, no checkpoint's has")
    return unpickle(path, bytes(entry("data.pkl")), storage)


def _zip_entry(memory: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """Return an entry's bytes as a view of the file, checked against their checksum."""
    signature, name, extra = struct.unpack_from("<4s22xHH", memory, info.header_offset)
    start = info.header_offset + 30 + name + extra
    data = memory[start : start + info.file_size]
    if signature != b"PK\3\4" or info.compress_type != zipfile.ZIP_STORED or len(data) != info.file_size:
        raise ValueError(f"{info.filename} is not stored as PyTorch stores it")
    if zlib.crc32(data) != info.CRC:
        raise ValueError(f"{info.filename} does not have its checksum, or was written without one (set_crc32_options)")
    return data


def _read_legacy(path: Path, memory: memoryview) -> Any:
    """Return the container before PyTorch 1.6: five pickles, then each storage's number of elements and its bytes.

    It has no checksums: a bit that flipped in a number cannot be seen.
    """
    pickles = io.BytesIO(memory[:LARGEST_PICKLE])
    storages: dict[str, Storage] = {}
    places: dict[str, memoryview] = {}

    def storage(pid: tuple) -> Storage:
        dtype, key, numel = _storage_of(pid)
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError("a view of a storage, which PyTorch has not written since 0.4")
        return storages.setdefault(key, Storage(dtype, numel, lambda: places[key]))

    def no_storage(pid: tuple) -> Storage:
        raise ValueError("a storage outside the weights")

    if unpickle(path, pickles, no_storage) != LEGACY_MAGIC or unpickle(path, pickles, no_storage) != LEGACY_PROTOCOL:
        raise ValueError("neither of PyTorch's containers")
    if not expect(unpickle(path, pickles, no_storage), dict).get("little_endian"):
        raise WeightsFileError(f"{path}: written on a big-endian machine; save it anew on another")
    content = unpickle(path, pickles, storage)
    keys = expect(unpickle(path, pickles, no_storage), list)
    position = pickles.tell()
    for key in keys:
        dtype, numel, _ = storages[expect(key, str)]
        (stored,) = struct.unpack_from("<q", memory, position)
        size = numel * dtype.itemsize
        data = memory[position + 8 : position + 8 + size]
        if stored != numel or len(data) != size:
            raise ValueError(f"storage {key} has {stored} elements, {numel} announced, {len(data)} bytes left")
        places[key] = data
        position += 8 + size
    return content


# Where checkpoints keep the weights, outermost first.
NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights")


def state_dict_of(content: Any, path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name in what `read_torch` gave: those under the first of the names `NESTED`, or its own.

    Raises:
        WeightsFileError: there are none, or they claim far more numbers than the file has bytes.
    """
    tensors = _tensors(content, depth=3)
    if not tensors:
        found = ", ".join(str(key)[:40] for key in list(content)[:10]) if isinstance(content, dict) else "no dictionary"
        raise WeightsFileError(f"{path}: no tensors by name in it, only: {found}; save the model's state dict alone")
    arrays = {name: tensor.array() for name, tensor in tensors.items()}
    # Views may show one storage many times over, and whoever copies them pays for each.
    if sum(array.nbytes for array in arrays.values()) > 4 * path.stat().st_size + (64 << 20):
        raise WeightsFileError(f"{path}: its tensors show the same numbers many times over; save clones of them")
    return arrays


def _tensors(content: Any, depth: int) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        return {}
    for name in NESTED if depth else ():
        if tensors := _tensors(content.get(name), depth - 1):
            return tensors
    return {name: value for name, value in content.items() if isinstance(value, Tensor) and isinstance(name, str)}


def card_in(content: Any) -> str | None:
    """Return the model card that `write_torch` put beside the state dict."""
    card = content.get("pimjax") if isinstance(content, dict) else None
    return card if isinstance(card, str) else None


def write_torch(path: Path, arrays: Mapping[str, np.ndarray], card: str) -> None:
    """Write {"state_dict": arrays, "pimjax": card} in PyTorch's zip container, for `torch.load(…, weights_only=True)`.

    Arrays are float16, float32, float64, bool or integers up to int64; ValueError for another dtype.
    """
    names = {dtype: name for name, dtype in STORAGES.items() if name != "UntypedStorage"}
    pickle = bytearray(b"\x80\x02}(" + _text("state_dict") + b"ccollections\nOrderedDict\n)R(")
    for i, (name, array) in enumerate(arrays.items()):
        if array.dtype not in names:
            raise ValueError(f"{name}: PyTorch has no storage of {array.dtype}")
        strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
        pickle += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n("
        pickle += b"(" + _text("storage") + f"ctorch\n{names[array.dtype]}\n".encode() + _text(str(i)) + _text("cpu")
        pickle += _number(array.size) + b"tQ" + _number(0) + _numbers(array.shape) + _numbers(strides)
        pickle += b"\x89ccollections\nOrderedDict\n)RtR"
    pickle += b"u" + _text("pimjax") + _text(card) + b"u."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as container:
        container.writestr("archive/data.pkl", bytes(pickle))
        container.writestr("archive/byteorder", "little")
        for i, array in enumerate(arrays.values()):
            with container.open(f"archive/data/{i}", "w", force_zip64=True) as entry:
                entry.write(np.ascontiguousarray(array).view(np.uint8).data if array.ndim else array.tobytes())
        container.writestr("archive/version", "3\n")


def _number(n: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", n)


def _numbers(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_number, values)) + b"t"


def _text(string: str) -> bytes:
    encoded = string.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded
