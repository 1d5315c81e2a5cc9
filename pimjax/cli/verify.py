"""The command verify: whether photos still are the files that were looked at."""

import argparse
import collections
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pimjax.files import printable
from pimjax.terminal import say


def add_commands(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    verify = commands.add_parser(
        "verify",
        help="whether photos are still the files that predictions.jsonl is of",
        description="Hashes every photo again. Exit status 1: a photo or a result is changed or missing, or a row has "
        "nothing to compare with.",
    )
    verify.add_argument("file", type=Path, nargs="+", metavar="predictions.jsonl")
    verify.set_defaults(command=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    """Print what is not as it was, then the counts."""
    from pimjax.inference.verify import SAME, verify_rows

    counts: collections.Counter[str] = collections.Counter()
    for file in arguments.file:
        for verdict in tqdm(verify_rows(file), unit="file", disable=None):
            counts[verdict.state] += 1
            if verdict.state != SAME:
                say("\t".join(map(printable, (verdict.state, verdict.photo, verdict.why))))
    say(", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "no rows")
    return 0 if counts.keys() <= {SAME} else 1
