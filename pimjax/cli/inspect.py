"""The command inspect: what photos' files tell of themselves, beside their pixels."""

import argparse
import json
from typing import Any

from pimjax.terminal import say, warn


def add_commands(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    inspect = commands.add_parser(
        "inspect",
        help="what a photo's file says: camera, programs, dates, JPEG's tables, thumbnail, leftovers",
        description="Nothing of it proves a forgery or an authentic photo: whoever writes the file can remove it or "
        "make it up. Exit status 1: a file could not be read.",
    )
    inspect.add_argument("photos", nargs="+", metavar="PHOTO")
    inspect.add_argument("--gps", action="store_true", help="show coordinates; else only that there are some")
    inspect.add_argument("--json", action="store_true", help="a line of JSON per photo")
    inspect.set_defaults(command=_inspect)


def _inspect(arguments: argparse.Namespace) -> int:
    """Print a line per fact: topic, finding, what it means."""
    from pimjax.data.headers import ImageError, read_bytes
    from pimjax.inference.file_facts import file_facts

    failed = 0
    for photo in arguments.photos:
        try:
            facts = file_facts(read_bytes(photo), photo, arguments.gps)
        except ImageError as error:
            failed += 1
            warn(f"error: {error}")
            continue
        if arguments.json:
            say(json.dumps({"photo": photo, "facts": [fact._asdict() for fact in facts]}))
            continue
        say(photo, *(f"  {fact.topic:<12}{fact.finding}{f' ({fact.means})' if fact.means else ''}" for fact in facts))
    return 1 if failed else 0
