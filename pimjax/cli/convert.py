"""The command convert: weights from one format to another."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from pimjax.terminal import say


def add_commands(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    convert = commands.add_parser("convert", help="weights from one format to another: .pth, .safetensors, native")
    convert.add_argument("source", help="a file of weights, a native directory or a run's directory")
    convert.add_argument("target", type=Path, help=".pth, .safetensors, or a new directory for pimjax's own format")
    convert.add_argument("--config", type=Path, metavar="FILE", help="of the model, if neither published nor told")
    convert.add_argument("--network", default="", metavar="NAME", help="of weights that their names do not tell")
    convert.add_argument(
        "--scores",
        type=Path,
        metavar="DIR",
        help="what pimjax evaluate wrote of the model (evaluation/MODEL): kept with it, to say what a score means",
    )
    convert.set_defaults(command=_convert)


def _convert(arguments: argparse.Namespace) -> int:
    """Convert, check, and say what the model is."""
    from pimjax.weights.card import provenance
    from pimjax.weights.convert import convert
    from pimjax.weights.load import read_model

    arrays, card = read_model(arguments.source, arguments.config, arguments.network)
    before = {"before": card.provenance or None}
    if arguments.scores:
        from pimjax.inference.localizer import Localizer
        from pimjax.inference.score_reference import reference_scores

        before |= {"scores": reference_scores(arguments.scores, Localizer.load(arguments.source).hash)}
    card = dataclasses.replace(card, provenance=provenance(arguments.source) | before)
    parameters = convert(arrays, card, arguments.target, arguments.source)
    say(f"{arguments.target}: {parameters:,} parameters, reads back equal")
    return 0
