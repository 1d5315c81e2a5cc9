"""A pickle of weights, followed by a machine of a few lines that executes nothing.

The usual reader of pickles imports and calls whatever the file names. This one knows tensors, storages, containers and
numbers, and refuses the rest. A hostile file can also nest tuples so that printing or hashing one takes for ever:
values that are not what they should be are therefore neither printed nor hashed.
"""

import io
import math
import pickletools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np


class WeightsFileError(ValueError):
    """Say that a file cannot be used as weights; the message names it, what is wrong and what to do."""


STORAGES = {
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "ByteStorage": np.dtype(np.uint8),
    "CharStorage": np.dtype(np.int8),
    "ShortStorage": np.dtype(np.int16),
    "IntStorage": np.dtype(np.int32),
    "LongStorage": np.dtype(np.int64),
    "BoolStorage": np.dtype(np.bool_),
    "UntypedStorage": np.dtype(np.uint8),  # bytes, of tensors that name their dtype
}
TYPES = {"uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64}
MOST_OPERATIONS = 400_000  # the released checkpoint needs 24 thousand
MOST_DIMENSIONS = 32
LONGEST_INTEGER = 128  # bits; the longest in a good file is the older container's magic number


class Storage(NamedTuple):
    """Where tensors lie: `numel` elements of `dtype`; `read` gives their bytes."""

    dtype: np.dtype
    numel: int
    read: Callable[[], memoryview]


class Tensor(NamedTuple):
    """A view of a storage, in elements, as the file describes it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Return the read-only numpy view, of memory shared with other tensors of that storage. ValueError for a bad
        claim.
        """
        storage, offset, shape, strides = self
        # Wrong values are not shown: the text of tuples that a hostile file nests would have no end.
        if len(expect(shape, tuple)) != len(expect(strides, tuple)) or len(shape) > MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {len(shape)} dimensions with {len(strides)} strides")
        if any(type(n) is not int or n < 0 for n in (offset, *shape, *strides)):
            raise ValueError("a tensor whose shape, strides or offset are no numbers")
        size = math.prod(shape)
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if size and (last >= storage.numel or size > sys.maxsize // storage.dtype.itemsize):
            raise ValueError(f"a tensor of {size} elements, the last at {last}, in a storage of {storage.numel}")
        data = storage.read()
        if len(data) != storage.numel * storage.dtype.itemsize:
            raise ValueError(f"a storage of {len(data)} bytes instead of {storage.numel} × {storage.dtype}")
        elements = np.frombuffer(data, storage.dtype)[offset:]
        if not size:
            return np.empty(shape, storage.dtype)
        steps = [stride * storage.dtype.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(elements, shape, steps, writeable=False)


class _Global(NamedTuple):
    module: str
    name: str


def _set(target: dict, key: Any, value: Any) -> None:
    # Hashing a tuple of tuples of … takes for ever, and so do integers chosen to collide: names and small numbers do.
    if not (isinstance(key, str) or (type(key) is int and abs(key) < 2**31)):
        raise ValueError(f"a dictionary key of type {type(key).__name__}")
    target[key] = value


def _size(numbers: Any) -> tuple:
    return expect(numbers, tuple)[:MOST_DIMENSIONS]


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any = None, hooks: Any = None, bits: Any = None
) -> Tensor:
    if bits:
        raise ValueError("a tensor that is the negation or conjugation of what is stored; save a clone of it")
    return Tensor(storage, offset, shape, strides)


def _tensor_of_bytes(
    storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any, hooks: Any, kind: Any, bits: Any = None
) -> Tensor:
    dtype = np.dtype(TYPES[expect(kind, _Global).name])
    memory = expect(storage, Storage)
    whole = Storage(dtype, memory.numel // dtype.itemsize, memory.read)
    return _tensor(whole, offset, shape, strides, requires_grad, hooks, bits)


def _parameter(tensor: Any, requires_grad: Any = None, hooks: Any = None, state: Any = None) -> Any:
    return tensor


def _device(kind: Any = None, index: Any = None) -> None:
    return None


# What a pickle may call, and what that makes here. Nothing of it runs code of PyTorch or of the file, and nothing takes
# longer for larger arguments: a file may repeat a call a hundred thousand times.
CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): lambda: {},
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_bytes,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}
MOST_ARGUMENTS = 8


def _known(path: Path, module: str, name: str) -> _Global:
    places = {
        "torch": STORAGES.keys() | TYPES.keys(),
        "torch.cuda": STORAGES.keys(),
        "torch.storage": {"UntypedStorage"},
    }
    if (module, name) in CALLS or name in places.get(module, ()):
        return _Global(module, name)
    raise WeightsFileError(
        f"{path}: refers to {_printable(module)}.{_printable(name)}, which is no usual tensor, container or number: "
        "refused, and nothing of the file was executed. If you trust it, open it with PyTorch and save the "
        "model's state dict alone"
    )


# Operations that push their argument: "BININT1", "BINUNICODE8", …
PUSHED = re.compile("(BIN)?INT[12]?|LONG[14]?|(BIN)?FLOAT|(SHORT_)?(BIN)?(STRING|UNICODE8?)|(SHORT_)?BINBYTES")
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
CONTAINERS = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED = frozenset({"PROTO", "FRAME"})


def unpickle(path: Path, pickle: bytes | io.BytesIO, storage: Callable[[tuple], Storage]) -> Any:
    """Follow the operations of one pickle; `storage` makes a `Storage` of a persistent id. `path` is for messages."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def pop(count: int) -> list[Any]:
        if count > len(stack):
            raise ValueError("a pickle that takes more than it gave")
        taken = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return taken

    def pop_mark() -> list[Any]:
        return pop(len(stack) - marks.pop())

    argument: Any
    for count, (operation, argument, _) in enumerate(pickletools.genops(pickle)):
        name = operation.name
        if count > MOST_OPERATIONS:
            raise WeightsFileError(f"{path}: its pickle has over {MOST_OPERATIONS} operations, no checkpoint's has")
        if PUSHED.fullmatch(name):
            if type(argument) is int and argument.bit_length() > LONGEST_INTEGER:
                raise ValueError(f"an integer of {argument.bit_length()} bits")
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in CONTAINERS:
            stack.append(CONTAINERS[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(len(stack))
        elif name in TUPLES:
            stack.append(tuple(pop(TUPLES[name])))
        elif name in ("TUPLE", "LIST"):
            items = pop_mark()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name in ("APPEND", "APPENDS"):
            items = pop(1) if name == "APPEND" else pop_mark()
            expect(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = pop(2) if name == "SETITEM" else pop_mark()
            for key, value in zip(items[::2], items[1::2], strict=True):
                _set(expect(stack[-1], dict), key, value)
        elif name == "GLOBAL":
            stack.append(_known(path, *argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(_known(path, *(expect(part, str) for part in pop(2))))
        elif name == "BINPERSID":
            stack.append(storage(expect(pop(1)[0], tuple)))
        elif name == "REDUCE":
            function, arguments = pop(2)
            if len(expect(arguments, tuple)) > MOST_ARGUMENTS:
                raise ValueError(f"a call with {len(arguments)} arguments")
            stack.append(CALLS[expect(function, _Global)](*arguments))
        elif name == "BUILD":
            pop(1)  # attributes, such as a state dict's "_metadata", say nothing of its arrays
        elif name == "STOP":
            return stack.pop()
        elif name not in IGNORED:
            raise WeightsFileError(f"{path}: its pickle uses the operation {name}, which no state dict needs: refused")
    raise ValueError("a pickle without an end")


def expect(value: Any, kind: type) -> Any:
    """Return `value`, which must be of exactly that type; ValueError if not."""
    if type(value) is not kind:
        raise ValueError(f"a pickle with a {type(value).__name__} in the place of a {kind.__name__}")
    return value


def _printable(name: str) -> str:
    return name[:100].encode("unicode_escape").decode()


def storage_dtype(value: Any) -> np.dtype:
    """Return the dtype of a storage type that a pickle named, such as torch.FloatStorage."""
    return STORAGES[expect(value, _Global).name]
