"""Configurations out of files, checkpoints and command lines, and what is said of a key that does not exist."""

import dataclasses
import difflib
import os
import runpy
import sys
from typing import Any

from absl import flags

from pimjax.config import Config
from pimjax.files import read_regular


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested dataclass as {"model.embed_dim": 96, …}, in declaration order."""
    flat = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{field.name}.")
        else:
            flat[prefix + field.name] = value
    return flat


def from_dict(cls: type, values: dict[str, Any]) -> Any:
    """A config dataclass back from `dataclasses.asdict` that went through JSON (lists become tuples).

    Keys that a file of an older pimjax lacks take their defaults. Raises ValueError for a key that `cls` does not have.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if odd := values.keys() - fields.keys():
        raise ValueError(f"{cls.__name__} of this pimjax has no {sorted(odd)}")
    built = {}
    for name, value in values.items():
        kind = fields[name].type
        if dataclasses.is_dataclass(kind):
            value = from_dict(kind, value)
        if isinstance(value, str) and kind == tuple[str, ...]:  # as pimjax 0.1 named a run's only source
            value = [value]
        built[name] = tuple(value) if isinstance(value, list) else value
    return cls(**built)


def read_config(file: str | os.PathLike) -> Config:
    """What `get_config()` in a file such as those under configs/ returns. ValueError where there is none."""
    try:
        read_regular(file)  # a pipe would be waited for without an end
        config = runpy.run_path(str(file))["get_config"]()
    except (OSError, KeyError, SyntaxError) as error:
        raise ValueError(f"{file}: not a configuration ({error!r}); give a file with get_config()") from None
    if not isinstance(config, Config):
        raise ValueError(f"{file}: get_config() gives a {type(config).__name__}; it must give a pimjax.config.Config")
    return config


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser for `app.run`; a wrong key or value under --config is one line, not a traceback."""
    try:
        return flags.FLAGS(argv)
    except (flags.Error, KeyError, TypeError, AttributeError, OSError) as error:
        sys.exit(_explain_flag_error(argv, error))


def _explain_flag_error(argv: list[str], error: Exception) -> str:
    """One line for a command line that absl's flags refused: for a misspelt `--config.KEY`, the nearest keys."""
    known = flatten(Config())
    sections = {key.rsplit(".", 1)[0] for key in known if "." in key}
    for argument in argv:
        key = argument.partition("=")[0].lstrip("-")
        if not key.startswith("config.") or (key := key.removeprefix("config.")) in known.keys() | sections:
            continue
        # The key may be right but in the wrong section, so its last part is compared alone, too.
        last = key.rsplit(".")[-1]
        near = difflib.get_close_matches(key, known) or [
            name for name in known if difflib.get_close_matches(last, [name.rsplit(".")[-1]])
        ]
        hint = "did you mean --config." + " or --config.".join(near[:3]) if near else "all keys: pimjax/config.py"
        return f"error: --config.{key}: no such key; {hint}"
    return f"error: {error}"
