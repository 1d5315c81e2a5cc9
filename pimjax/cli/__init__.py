"""The `pimjax` command."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from pimjax import __version__
from pimjax.shutdown import Shutdown, run_guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given[:1] == ["train"]:  # whose flags are absl's
        from pimjax.cli import train

        return train.main(["pimjax train", *given[1:]])
    return run_guarded(lambda shutdown: _run(given, shutdown))


def _run(argv: Sequence[str], shutdown: Shutdown) -> int:
    # Imported here, where Ctrl-C is one line.
    import argparse

    from absl import logging

    from pimjax.cli import bench, benchmark, convert, data, evaluate, inspect, models, predict, serve, verify
    from pimjax.files import printable

    class Parser(argparse.ArgumentParser):
        """One whose errors show the words of the command line as they can be printed."""

        def error(self, message: str) -> NoReturn:
            super().error(printable(message))

    parser = Parser(prog="pimjax", description="Image manipulation localization with PIM.")
    parser.add_argument("--version", action="version", version=f"pimjax {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in (predict, inspect, verify, serve, convert, models, data, evaluate, benchmark, bench):
        room.add_commands(commands)
    commands.add_parser("train", help="train a network: --config FILE or NAME; --help lists every key", add_help=False)
    arguments = parser.parse_args(argv)
    shutdown.message = getattr(arguments, "interrupted", shutdown.message)
    logging.set_verbosity(logging.ERROR)  # orbax and jax tell their every move
    return arguments.command(arguments)
