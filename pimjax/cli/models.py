"""The command models: which networks there are, what they cost, and where their weights come from."""

import argparse
from collections.abc import Sequence
from typing import Any

from pimjax.terminal import say
from pimjax.weights.bundled import weights_path

HEADER = (
    "network",
    "year",
    "venue",
    "parameters",
    "G operations at 512²",
    "input",
    "weights' license",
    "weights",
    "here",
)


def add_commands(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    models = commands.add_parser(
        "models",
        help="the networks: year, size, inputs, license and source of their weights",
        description="pimjax downloads none of them. Give what you have to predict, evaluate or convert: released files "
        "are recognized by the names in them.",
    )
    models.set_defaults(command=_models)


def _models(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from pimjax.models.catalog import CATALOG

    rows: list[Sequence[str]] = [HEADER]
    for name, facts in CATALOG.items():
        operations = f"{facts.operations:,.0f}" if facts.operations else "–"
        here = "yes" if name == "pim-small" and weights_path(name).exists() else ""
        size = f"{facts.parameters:,}"
        rows.append([name, str(facts.year), facts.venue, size, operations, *facts[4:], here])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    say(*("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows))
    return 0
