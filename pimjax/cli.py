"""The `pimjax` command."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging
from tqdm import tqdm

from pimjax.config import PRECISIONS, ModelConfig
from pimjax.config_checks import check
from pimjax.config_files import read_config


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="pimjax", description="Image manipulation localization with PIM.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

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

    bench = commands.add_parser("bench", help="speed and memory on this machine, beside PyTorch where installed")
    bench.add_argument("--inference", nargs="*", type=int, default=[512], metavar="SIZE", help="default: 512 pixels")
    bench.add_argument("--train", nargs="*", type=int, default=[256], metavar="SIZE", help="default: 256 pixels")
    bench.add_argument("--batch", nargs="+", type=int, default=[2], metavar="N", help="images per run; default: 2")
    bench.add_argument("--precision", default="float32", choices=PRECISIONS, help="default: float32")
    bench.add_argument("--repeats", type=int, default=5, help="measured runs of each; default: 5")
    bench.add_argument("--no-pytorch", action="store_true", help="leave the comparison out")
    bench.add_argument(
        "--source", default="installed:train", help="photographs for the input pipeline; '' leaves it out"
    )
    bench.add_argument("--config", type=Path, metavar="FILE", help="measure its model instead of the published one")
    bench.add_argument("--output", default=Path("bench"), type=Path, metavar="DIR", help="default: bench")
    bench.set_defaults(command=_bench)

    checking = commands.add_parser("check-data", help="decode all of a source and say whether training may start")
    checking.add_argument("source", help="such as csv:FILE, folder:DIR, pairs:DIR, tfds:NAME")
    checking.add_argument("--against", metavar="SOURCE", help="another source that must share no picture with it")
    checking.add_argument(
        "--max-broken", type=float, default=0.05, metavar="SHARE", help="unusable share that is no reason"
    )
    checking.add_argument("--output", default=Path("check"), type=Path, metavar="DIR", help="default: check")
    checking.set_defaults(command=_check_data)

    preview = commands.add_parser("preview-data", help="a picture of what a configuration's training will see")
    preview.add_argument("config", type=Path, help="such as configs/demo.py")
    preview.add_argument("--rows", type=int, default=12, help="default: 12")
    preview.add_argument(
        "--output", default=Path("preview.png"), type=Path, metavar="FILE", help="default: preview.png"
    )
    preview.set_defaults(command=_preview_data)

    prepare = commands.add_parser("prepare-data", help="a dataset as it is distributed, into a source tfds:NAME")
    prepare.add_argument("name", help="such as casia_v1; a wrong one lists all")
    prepare.add_argument("--from", dest="folder", required=True, type=Path, metavar="DIR", help="where its files are")
    prepare.add_argument("--to", type=Path, metavar="DIR", help="default: $TFDS_DATA_DIR, ~/tensorflow_datasets")
    prepare.set_defaults(command=_prepare_data)

    arguments = parser.parse_args(argv)
    logging.set_verbosity(logging.ERROR)  # orbax and jax tell their every move
    try:
        return arguments.command(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


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


def _bench(arguments: argparse.Namespace) -> int:
    """Prints the tables and writes bench.json."""
    from pimjax.benchmark import peer, report
    from pimjax.benchmark.cases import Case
    from pimjax.benchmark.measure import measure
    from pimjax.benchmark.pipeline import measure_pipeline, pipeline_table

    model = read_config(arguments.config).model if arguments.config else ModelConfig()
    cases = [
        Case(task, size, batch, arguments.precision, model)
        for tasks, sizes in ((("mask", "all"), arguments.inference), (("train",), arguments.train))
        for size in sizes
        for batch in arguments.batch
        for task in tasks
    ]
    engines = ["pimjax"]
    if not arguments.no_pytorch:
        if lacking := peer.missing():
            print(f"no comparison with PyTorch: {' and '.join(lacking)} not installed")
        else:
            engines.append("pytorch")
    result = {"machine": report.machine(), "precision": arguments.precision, "model": dataclasses.asdict(model)}
    if arguments.source:
        result["pipeline"] = measure_pipeline(arguments.source)
        print(f"\n{pipeline_table(result['pipeline'])}\n", flush=True)
    result["rows"] = []
    for rows in measure(cases, engines, arguments.repeats):
        result["rows"] += rows
        report.write_json(arguments.output / "bench.json", result)  # at once: an hour's figures survive what comes next
    print(f"\n{report.table(result['rows'], arguments.precision)}\n")
    where = result["machine"] | {
        row["engine"]: f"{row['device']}, {row['version']}" for row in result["rows"] if "device" in row
    }
    print("\n".join(f"{key}: {value}" for key, value in where.items()))
    print(f"all figures: {arguments.output / 'bench.json'}")
    return 1 if any("error" in row and row["engine"] == "pimjax" for row in result["rows"]) else 0


def _check_data(arguments: argparse.Namespace) -> int:
    """Prints what was found; writes check.json and check.png. Exit status 1: training must not start."""
    from pimjax.data.images import write_png
    from pimjax.data.named_sources import open_source
    from pimjax.inspection.examine import examine_all
    from pimjax.inspection.judge import judge, judge_against, judge_fit, summary
    from pimjax.inspection.report import findings_table, write_json
    from pimjax.inspection.sheets import checked_sheet

    source = open_source(arguments.source)
    facts = list(tqdm(examine_all(source), total=len(source), unit="example", dynamic_ncols=True))
    findings = judge(facts, arguments.max_broken) + judge_fit(source, facts)
    if arguments.against:
        other = open_source(arguments.against)
        others = list(tqdm(examine_all(other), total=len(other), unit="example", dynamic_ncols=True))
        findings += judge_against(facts, others)
    print(f"\n{findings_table(summary(facts), findings)}\n")
    write_json(arguments.output / "check.json", arguments.source, facts, findings)
    write_png(arguments.output / "check.png", checked_sheet(source, facts))
    print(f"every example: {arguments.output / 'check.json'}\npictures: {arguments.output / 'check.png'}")
    forbidden = [finding.kind for finding in findings if finding.forbids]
    print(f"training must not start: {', '.join(forbidden)}" if forbidden else "training may start")
    return 1 if forbidden else 0


def _preview_data(arguments: argparse.Namespace) -> int:
    """Writes a contact sheet of training samples."""
    from pimjax.data.donors import Donors
    from pimjax.data.images import write_png
    from pimjax.data.named_sources import open_source
    from pimjax.data.pipeline import TrainTransform
    from pimjax.inspection.sheets import preview_sheet

    config = read_config(arguments.config)
    check(config)
    sources = tuple(map(open_source, config.data.train))
    transform = TrainTransform(config.data, config.pida, Donors(sources))
    write_png(arguments.output, preview_sheet(sources, transform, config.seed, arguments.rows))
    print(f"pictures: {arguments.output}")
    return 0


def _prepare_data(arguments: argparse.Namespace) -> int:
    """Writes a set as TFDS stores it."""
    from pimjax.data.datasets.catalogue import prepare

    prepare(arguments.name, arguments.folder, arguments.to)
    return 0


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
