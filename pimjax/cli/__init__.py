"""The `pimjax` command."""

from collections.abc import Sequence

from pimjax.shutdown import Shutdown, run_guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status."""
    return run_guarded(lambda shutdown: _run(argv, shutdown))


def _run(argv: Sequence[str] | None, shutdown: Shutdown) -> int:
    # Imported here, where Ctrl-C is one line.
    import argparse

    from absl import logging

    from pimjax.cli import benchmark, data, models
    from pimjax.files import printable

    class Parser(argparse.ArgumentParser):
        """One whose errors show the words of the command line as they can be printed."""

        def error(self, message: str) -> None:
            super().error(printable(message))

    parser = Parser(prog="pimjax", description="Image manipulation localization with PIM.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in (models, data, benchmark):
        room.add_commands(commands)
    arguments = parser.parse_args(argv)
    shutdown.message = getattr(arguments, "interrupted", shutdown.message)
    logging.set_verbosity(logging.ERROR)  # orbax and jax tell their every move
    return arguments.command(arguments)
