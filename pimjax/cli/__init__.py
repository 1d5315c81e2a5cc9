"""The `pimjax` command."""

import argparse
import sys
from collections.abc import Sequence

from absl import logging

from pimjax.cli import benchmark, data, models
from pimjax.config_values import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="pimjax", description="Image manipulation localization with PIM.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in (models, data, benchmark):
        room.add_commands(commands)
    arguments = parser.parse_args(argv)
    logging.set_verbosity(logging.ERROR)  # orbax and jax tell their every move
    try:
        return arguments.command(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
