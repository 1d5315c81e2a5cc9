"""Commands that use a model: predict, convert."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pimjax.config import PRECISIONS


def add_commands(commands: Any) -> None:
    """Adds them to argparse's subparsers."""
    predict = commands.add_parser("predict", help="mark the manipulated pixels of photos")
    predict.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    predict.add_argument(
        "--checkpoint", required=True, type=Path, metavar="PATH", help="a run's directory, or what convert wrote"
    )
    predict.add_argument("--output", default=Path("predictions"), type=Path, metavar="DIR", help="default: predictions")
    predict.add_argument("--details", action="store_true", help="write boundary and reconstruction too")
    predict.add_argument("--precision", default="float32", choices=PRECISIONS, help="default: float32")
    predict.set_defaults(command=_predict)

    convert = commands.add_parser("convert", help="weights from one format to another: .pth, .safetensors, native")
    convert.add_argument("source", type=Path, help=".pth, .safetensors, .npz, a native directory or a run's directory")
    convert.add_argument("target", type=Path, help=".pth, .safetensors, or a new directory for pimjax's own format")
    convert.add_argument("--config", type=Path, metavar="FILE", help="of the model, if neither published nor told")
    convert.set_defaults(command=_convert)


def _predict(arguments: argparse.Namespace) -> int:
    """Writes NAME_probability.png, NAME_overlay.png, … per photo; a broken photo does not stop the others."""
    from pimjax.data.images import ImageError, write_png
    from pimjax.inference.localizer import Localizer
    from pimjax.pictures import overlay

    localizer = Localizer.load(arguments.checkpoint, arguments.precision)
    print("score\tphoto\tpictures")
    failed = 0
    for photo, name in zip(tqdm(arguments.photos, unit="photo", disable=None), _names(arguments.photos), strict=True):
        try:
            result = localizer(photo, arguments.details)
        except ImageError as error:
            failed += 1
            tqdm.write(f"error: {error}", file=sys.stderr)
            continue
        pictures = {
            "probability": _grey(result.probability),
            "overlay": overlay(result.photo, result.probability),
            "boundary": _grey(result.boundary),
            "reconstruction": result.reconstruction,
        }
        files = []
        for kind, picture in pictures.items():
            if picture is not None:
                files.append(arguments.output / f"{name}_{kind}.png")
                write_png(files[-1], picture)
        tqdm.write("\t".join(map(str, (f"{result.score:.4f}", photo, *files))))
    return 1 if failed else 0


def _grey(probability: np.ndarray | None) -> np.ndarray | None:
    return None if probability is None else np.rint(probability * 255).astype(np.uint8)


def _convert(arguments: argparse.Namespace) -> int:
    """Converts, checks, and says what the model is."""
    from pimjax.training.initial import read_model
    from pimjax.weights.card import provenance
    from pimjax.weights.conversion import convert

    arrays, card = read_model(arguments.source, arguments.config)
    card = dataclasses.replace(card, provenance=provenance(arguments.source) | {"before": card.provenance or None})
    parameters = convert(arrays, card, arguments.target, arguments.source)
    print(f"{arguments.target}: {parameters:,} parameters, reads back equal")
    return 0


def _names(photos: Sequence[Path]) -> list[str]:
    """A name per photo, its stem; photos of one stem in different folders or formats are numbered apart."""
    names: list[str] = []
    for photo in photos:
        name, number = photo.stem, 1
        while name in names:
            number += 1
            name = f"{photo.stem}-{number}"
        names.append(name)
    return names
