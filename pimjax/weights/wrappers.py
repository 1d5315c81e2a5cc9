"""Names of weights without what wrappers put before them, and what to say where that does not make them fit."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

# What PyTorch's wrappers (DataParallel, compile, FSDP, checkpointing) insert, of the whole network or of a part.
INSERTED = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# How people call the attribute, or the dictionary, that holds the network.
HOLDERS = ("model", "net", "network", "state_dict", "encoder", "base_model", "segmentor")


def unwrap(arrays: Mapping[str, Any], kept: Collection[str], where: Any) -> dict[str, Any]:
    """Return the arrays under names without the parts `INSERTED`, and without `HOLDERS` that begin all of them.

    Args:
        arrays: by name, whose parts are joined by dots.
        kept: first parts of the names wanted, which are no wrappers there.
        where: how the error calls the arrays.

    Raises:
        ValueError: two names become one.
    """
    names = {name: ".".join(part for part in name.split(".") if part not in INSERTED) or name for name in arrays}
    start = _common_start([name.split(".") for name in names.values()], kept)
    plain: dict[str, str] = {}
    for name, shorter in names.items():
        first = plain.setdefault(shorter[start:], name)
        if first != name:
            wrapper = next(part for part in INSERTED if part in f"{first}.{name}".split("."))
            raise ValueError(f"{where}: given with and without '{wrapper}.': {shorter[start:]}; keep one of the two")
    return {shorter: arrays[name] for shorter, name in plain.items()}


def _common_start(names: list[list[str]], kept: Collection[str]) -> int:
    """Return how many characters holders take at the start of all names."""

    def head(depth: int) -> str:
        heads = {name[depth] if len(name) > depth + 1 else "" for name in names}
        return heads.pop() if len(heads) == 1 else ""

    depth = start = 0
    while (part := head(depth)) in HOLDERS and (part not in kept or head(depth + 1) in HOLDERS):
        depth, start = depth + 1, start + len(part) + 1
    return start


def common_start(arrays: Collection[str], plain: Collection[str]) -> str:
    """Return in brackets what begins all names and, if `unwrap` made them `plain`, that it was taken off."""
    off = _taken_off(arrays, plain)
    heads = {name.partition(".")[0] for name in arrays}
    start = off or (f"{heads.pop()}." if len(heads) == 1 else "")
    return f" (all {len(arrays)} names begin with {start!r}{', which was taken off' if off else ''})" if start else ""


def _taken_off(arrays: Collection[str], plain: Collection[str]) -> str:
    starts = {a.removesuffix(b) if a.endswith(b) else "" for a, b in zip(arrays, plain, strict=True)}
    return starts.pop() if len(starts) == 1 else ""


def misnamed(arrays: Collection[str], plain: Collection[str], expected: Collection[str]) -> str:
    """Return which prefix, or which several, hide the names of a model, and what to do; "" if none does.

    Args:
        arrays: names as they were given.
        plain: what `unwrap` made of them.
        expected: those of the model.
    """
    fitting: Counter[str] = Counter()
    for name in plain:
        parts = name.split(".")
        for depth in range(min(len(parts), 8)):
            if ".".join(parts[depth:]) in expected:
                fitting["".join(f"{part}." for part in parts[:depth])] += 1
                break
    off = _taken_off(arrays, plain)
    prefixes = {f"{off}{p}": n for p, n in fitting.items() if n >= min(len(plain), len(expected)) / 2}
    if len(prefixes) > 1:
        listing = " and ".join(f"{prefix or 'no prefix'!r} ({count} names)" for prefix, count in prefixes.items())
        return f"holds several copies of the model, under {listing}; save one of them alone"
    if not prefixes or off in prefixes:
        return ""
    (prefix,) = prefixes
    count = sum(name.startswith(prefix) for name in arrays)
    if count == len(arrays):
        return f"all {count} names begin with {prefix!r}; take it off, or save the state dict of the network alone"
    return f"{count} of {len(arrays)} names begin with {prefix!r}; save these alone, without it"
