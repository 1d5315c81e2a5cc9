"""The command predict: mark the manipulated pixels of photos."""

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pimjax.cli import values
from pimjax.config.schema import PRECISIONS
from pimjax.files import lock_file, printable
from pimjax.inference.output_names import OUTPUTS
from pimjax.shutdown import RESUMES
from pimjax.terminal import command_line, say, warn
from pimjax.weights.bundled import BUNDLED


class _OutputsAndPhotos(argparse.Action):
    """Take values that are no outputs for photos, since argparse gives --write all that follow it."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        photos = [value for value in values if value not in OUTPUTS]
        for value in photos:
            if not any(sign in value for sign in "./\\*?[-") and not Path(value).exists():  # rather a slip
                raise argparse.ArgumentError(self, f"{value!r} is neither a file nor one of {', '.join(OUTPUTS)}")
        setattr(namespace, self.dest, [value for value in values if value in OUTPUTS])
        namespace.more_photos = [*namespace.more_photos, *photos]


def add_commands(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    predict = commands.add_parser(
        "predict",
        help="mark the manipulated pixels of photos",
        description="Writes maps and pictures of every photo, and a line of figures into predictions.jsonl. "
        "The same command goes on where it was stopped. Exit status 1: a photo could not be used.",
    )
    predict.add_argument(
        "photos", nargs="*", metavar="PHOTO", help='a file, a folder, a pattern such as "shots/**/*.jpg", or -: stdin'
    )
    predict.add_argument("--list", type=Path, metavar="FILE", help="photos named in a file, one per line; -: stdin")
    predict.add_argument(
        "--checkpoint",
        default=BUNDLED,
        metavar="PATH",
        help="a run's directory, or what convert wrote; default: the model that pimjax brings along",
    )
    predict.add_argument("--output", default=Path("predictions"), type=Path, metavar="DIR", help="default: predictions")
    predict.add_argument(
        "--write",
        nargs="*",
        default=["probability", "overlay"],
        action=_OutputsAndPhotos,
        metavar="WHAT",
        help=f"any of {', '.join(OUTPUTS)}; none: figures only; photos may follow; default: probability overlay",
    )
    predict.add_argument(
        "--threshold", type=values.share, default=0.5, help="of mask, area, boxes, outlines; default: 0.5"
    )
    predict.add_argument("--bits", type=int, choices=(8, 16), default=8, help="of gray PNGs; default: 8")
    predict.add_argument(
        "--shard", type=values.shard, default=(1, 1), metavar="I/N", help="part I of N, for N machines"
    )
    predict.add_argument(
        "--batch", type=values.count_or_none, default=0, help="tiles computed together; default: 1 on a CPU, else 8"
    )
    predict.add_argument("--precision", default="float32", choices=PRECISIONS, help="default: float32")
    large = "larger photos are not decoded; default: 100, which take 2 GB"
    predict.add_argument("--max-megapixels", type=values.positive, default=100, metavar="N", help=large)
    predict.set_defaults(command=_predict, interrupted=RESUMES, more_photos=[])


def _predict(arguments: argparse.Namespace) -> int:
    """Localize all photos; a broken one does not stop the others."""
    from pimjax.inference.inputs import read_list

    output, (part, parts) = arguments.output, arguments.shard
    inputs = arguments.photos + arguments.more_photos + (read_list(arguments.list) if arguments.list else [])
    if not inputs:
        raise ValueError("give photos, folders or patterns, or --list")
    file = output / (f"predictions-{part}-of-{parts}.jsonl" if parts > 1 else "predictions.jsonl")
    taken = f"{file}: another pimjax predict is at work on it; wait for it, or give this one another --output"
    with lock_file(output / f".{file.stem}.lock", taken):
        return _predict_into(file, inputs, arguments)


def _predict_into(file: Path, inputs: list[str], arguments: argparse.Namespace) -> int:
    from pimjax.data.walk import describe
    from pimjax.inference.inputs import find_photos, shard
    from pimjax.inference.localizer import Localizer
    from pimjax.inference.predict import BatchPredictor, OutputOptions
    from pimjax.inference.rows import known_names, named_files, read_results

    output, rows = file.parent, read_results(file.parent)
    passed_over: dict[Path, str] = {}
    photos = find_photos(inputs, known_names(rows, output), output, named_files(rows, output), passed_over)
    mine = shard(photos, *arguments.shard)
    localizer = Localizer.load(arguments.checkpoint, arguments.precision, arguments.batch)
    most_pixels = round(arguments.max_megapixels * 1e6)
    settings = OutputOptions(tuple(dict.fromkeys(arguments.write)), arguments.threshold, arguments.bits, most_pixels)
    run = BatchPredictor(localizer, arguments.checkpoint, mine, output, file, rows, settings, command_line())
    failed, done = 0, len(mine) - len(run.todo)
    if done:
        warn(f"{done} of {len(mine)} photos are in {output} already")
    say("score\tmarked\tphoto\tfiles")
    for row in tqdm(run.run(), total=len(mine), initial=done, unit="photo", disable=None):
        if "error" in row:
            failed += 1
            warn(f"error: {row['error']}")
        else:
            files = [str(output / name) for name in row["files"].values()]
            cells = (f"{row['score']:.4f}", f"{row['area']:.2%}", row["photo"], *files)
            say("\t".join(map(printable, cells)))
            for note in row.get("notes", ()):
                warn(f"note: {row['photo']}: {note}")
    if passed_over:
        warn(f"note: {describe(passed_over)}")
    if failed:
        warn(f"{failed} of {len(mine)} photos could not be used; see {file}")
    return 1 if failed else 0
