"""The configuration on the command line: `--config FILE --config.KEY=VALUE`, what is said of a mistake, and --help."""

import dataclasses
import difflib
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

from absl import flags
from ml_collections import config_flags

from pimjax.aliases import CONFIG
from pimjax.config.load import flatten, read_config
from pimjax.config.networks import NETWORKS
from pimjax.config.schema import Config, NetworkConfig
from pimjax.config.values import ConfigError
from pimjax.terminal import say

USAGE = "Train: pimjax train --config demo [--config.KEY=VALUE …], or a file. The same command resumes."
HELP = {"--help", "-help", "-h", "--helpfull", "--helpshort", "-?"}


def define_config(known: flags.FlagValues = flags.FLAGS) -> flags.FlagHolder:
    """Define --config FILE and an override for every key of it."""
    holder = config_flags.DEFINE_config_file(
        "config", None, "a file with get_config(), such as configs/demo.py", flag_values=known
    )
    parser: Any = known["config"].parser
    parser.parse = read_config  # whose errors name the file and the line
    flags.mark_flag_as_required("config", known)
    return holder


def parse_flags(argv: list[str]) -> list[str]:
    """Parse flags for `app.run`; ConfigError, in one line, for a wrong key or value."""
    if HELP.intersection(argv[1:]):
        say(*help_text().split("\n"))
        sys.exit(0)
    argv = [_current(argument) for argument in argv]
    sys.argv[1:] = map(_current, sys.argv[1:])  # which ml_collections reads by itself
    try:
        return flags.FLAGS(argv)
    except (flags.Error, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ConfigError(_explained(argv, error)) from None


def _current(argument: str) -> str:
    """Return a flag with its key as it is called now: `--config.train.steps=5` as `--config.train.num_steps=5`."""
    key, equals, value = argument.partition("=")
    dashes, config, path = key.partition("config.")
    if dashes not in ("-", "--") or not config:
        return argument
    names = path.split(".")
    for depth in range(len(names)):
        table = CONFIG.get(".".join(names[:depth]), {})
        names[depth] = table.get(names[depth], names[depth])
    return f"{dashes}config.{'.'.join(names)}{equals}{value}"


def _explained(argv: list[str], error: BaseException) -> str:
    """Return one line for a command line that absl's flags refused: for a misspelt `--config.KEY`, the nearest keys."""
    cause: BaseException | None = error
    while cause is not None:  # absl wraps what its parsers raise
        if isinstance(cause, ConfigError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    known = {key: None for network in NETWORKS.values() for key in flatten(Config(model=network()))}
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
        hint = "did you mean --config." + " or --config.".join(near[:3]) if near else "train.py --help lists all"
        return f"--config.{key}: no such key; {hint}"
    return " ".join(str(error).split())


def help_text() -> str:
    """Return how train.py is called, its flags, and every key with its default, what it may be, and its meaning."""
    ours = flags.FLAGS.flags_by_module_dict().get("pimjax.cli.train", [])
    lines = [USAGE, ""]
    lines += [f"  --{flag.name:<16} {flag.help}" for flag in ours if flag.name != "config"]
    for cls in sections(Config):
        meanings = comments(cls)
        lines += ["", f"{cls.PATH[:-1]}: {inspect.getdoc(cls)}", ""]
        for field in dataclasses.fields(cls):
            if not dataclasses.is_dataclass(field.type):
                shown = f"  --{cls.PATH}{field.name}={field.default!r}"
                about = [str(field.metadata.get("values", "")), meanings.get(field.name, "")]
                lines += [f"{shown:<44} {'. '.join(filter(None, about))}".rstrip()]
    return "\n".join(lines)


def sections(cls: Any) -> Iterator[Any]:
    """Return a section and those within it."""
    yield cls
    for field in dataclasses.fields(cls):
        if field.type is NetworkConfig:
            yield from NETWORKS.values()
        elif dataclasses.is_dataclass(field.type):
            yield from sections(field.type)


def comments(cls: type) -> dict[str, str]:
    """Return the comments behind the declarations of a section's keys, its own before those that it inherits."""
    found: dict[str, str] = {}
    for part in reversed(cls.__mro__):
        if dataclasses.is_dataclass(part):
            found |= re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(part), re.MULTILINE)
    return found
