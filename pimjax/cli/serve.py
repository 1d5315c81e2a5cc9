"""The command serve: a local page on which to drop photos."""

import argparse
import signal
from typing import Any

from pimjax.cli import values
from pimjax.weights.bundled import BUNDLED


def add_commands(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    serve = commands.add_parser(
        "serve", help="a local page on which to drop photos", description="Needs pip install 'pimjax[app]'."
    )
    serve.add_argument("--checkpoint", default=BUNDLED, metavar="PATH", help="as of predict")
    serve.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this computer alone")
    serve.add_argument("--port", type=values.port, default=7860, help="default: 7860")
    serve.add_argument(
        "--allow-host", nargs="+", default=[], metavar="NAME", help="other names that the page goes by, as of a proxy"
    )
    serve.set_defaults(command=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    try:
        from pimjax.inference.app import serve
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; pip install 'pimjax[app]'") from None
    from pimjax.inference.localizer import Localizer

    interrupt = signal.getsignal(signal.SIGINT)  # in the background, it may be ignored
    signal.signal(signal.SIGTERM, interrupt if callable(interrupt) else signal.default_int_handler)
    serve(Localizer.load(arguments.checkpoint), arguments.host, arguments.port, allowed=arguments.allow_host)
    return 0
