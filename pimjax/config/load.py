"""Configurations out of files and checkpoints."""

import contextlib
import dataclasses
import importlib.metadata
import os
import runpy
import traceback
from pathlib import Path
from typing import Any

from pimjax.aliases import renamed
from pimjax.config.networks import NETWORKS
from pimjax.config.schema import Config, NetworkConfig
from pimjax.config.values import ConfigError
from pimjax.files import read_regular

# Variants of pimjax 0.1 that stood where the exact networks are now.
GONE = {"fcn": "fcn_resnet50", "deeplabv3": "deeplabv3_resnet50", "unet_stride4": "unet", "vit": "vit_b_16"}


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested dataclass as {"model.embed_dim": 96, …}, in declaration order."""
    flat = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{field.name}.")
        else:
            flat[prefix + field.name] = value
    return flat


def from_dict(cls: type, values: dict[str, Any]) -> Any:
    """Rebuild a config dataclass from what `dataclasses.asdict` gave and JSON carried (lists become tuples).

    Keys that a file of an older pimjax lacks take their defaults. Raises ConfigError for a key that `cls` does not
    have, and for a value that it does not take.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{cls.__name__} cannot be read from {type(values).__name__}")
    values = renamed(values, cls.old_names())
    if cls is NetworkConfig:
        name = values.get("architecture", "pim")
        if name in GONE or (name == "unet" and "num_heads" in values):
            raise ConfigError(f"{name} is a network of pimjax 0.1, which alone reads it; train {GONE.get(name, name)}")
        if name not in NETWORKS:
            raise ConfigError(f"{name!r}: no network of this pimjax, which has {', '.join(NETWORKS)}")
        cls = NETWORKS[name]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if odd := values.keys() - fields.keys():
        raise ConfigError(f"{cls.__name__} of this pimjax has no {sorted(odd)}")
    built = {}
    for name, value in values.items():
        kind = fields[name].type
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            value = from_dict(kind, value)
        if isinstance(value, str) and kind == tuple[str, ...]:  # as pimjax 0.1 named a run's only source
            value = [value]
        built[name] = tuple(value) if isinstance(value, list) else value
    return cls(**built)


def shipped_configs() -> dict[str, Path]:
    """Return the files of the configurations that come with pimjax, by name, such as "demo" and "baselines/fcn"."""
    checkout = Path(__file__).parents[2] / "configs"
    files = [Path(file) for file in checkout.rglob("*.py")] if (checkout.parent / "pyproject.toml").exists() else []
    if not files:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            files = [Path(str(file.locate())) for file in importlib.metadata.files("pimjax") or ()]
    parts = (file.resolve().with_suffix("").as_posix().rpartition("/configs/")[2] for file in files)
    return {name: file for name, file in zip(parts, files, strict=True) if file.suffix == ".py" and _DATA in str(file)}


_DATA = f"{os.sep}configs{os.sep}"  # in the path of a configuration's file


def read_config(file: str | os.PathLike) -> Config:
    """Return what `get_config()` in a file gives, or in one of `shipped_configs` by its name.

    Raises:
        ConfigError: the file cannot be used; the message names the file and the line.
    """
    if not os.path.exists(file):
        file = shipped_configs().get(str(file), file)
    try:
        if os.path.exists(file):  # if not, Python says so
            read_regular(file)  # a pipe would be waited for without an end
        get_config = runpy.run_path(str(file)).get("get_config")
        config = get_config() if callable(get_config) else None
    except Exception as error:  # whatever the file's author did
        raise _explained(file, error) from None
    if get_config is None:
        raise ConfigError(f"{file}: not a configuration; define get_config(), as the files under configs/ do")
    if not isinstance(config, Config):
        kind = "nothing" if config is None else f"a {type(config).__name__}"
        raise ConfigError(f"{file}: get_config() gives {kind}; it must return a pimjax.config.Config")
    return config


def _explained(file: str | os.PathLike, error: Exception) -> ConfigError:
    """Return the error of a configuration file in one line that names where in the file it came up."""
    if isinstance(error, OSError) and os.path.abspath(str(error.filename)) == os.path.abspath(file):
        names = ", ".join(sorted(shipped_configs()))
        return ConfigError(f"{file}: {error.strerror}; give a file with get_config(), or one of {names}")
    line = next(
        (f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(file)), None
    )
    if isinstance(error, SyntaxError) and error.filename == str(file):
        line = error.lineno
    what = error.msg if isinstance(error, SyntaxError) else str(error)
    name = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
    where = file if line is None else f"{file}, line {line}"
    return ConfigError(" ".join(f"{where}: {name}{what}".split()))
