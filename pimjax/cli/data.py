"""Commands that look at data or prepare it: check-data, preview-data, prepare-data."""

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pimjax.cli import values
from pimjax.config.load import read_config
from pimjax.config.validate import check
from pimjax.config.values import ConfigError
from pimjax.files import claim
from pimjax.terminal import bar_interval, say, warn


def add_commands(commands: Any) -> None:
    """Add the commands to argparse's subparsers."""
    checking = commands.add_parser("check-data", help="decode all of a source and say whether training may start")
    checking.add_argument("source", help="such as csv:FILE, folder:DIR, pairs:DIR, tfds:NAME")
    checking.add_argument("--against", metavar="SOURCE", help="another source that must share no picture with it")
    checking.add_argument(
        "--max-unreadable",
        type=values.whole_share,
        default=0.05,
        metavar="SHARE",
        help="unusable share that is no reason",
    )
    checking.add_argument("--output", default=Path("check"), type=Path, metavar="DIR", help="default: check")
    checking.set_defaults(command=_check_data)

    preview = commands.add_parser("preview-data", help="a picture of what a configuration's training will see")
    preview.add_argument("config", type=Path, help="such as configs/demo.py")
    preview.add_argument("--rows", type=values.count, default=12, help="default: 12")
    preview.add_argument(
        "--output", default=Path("preview.png"), type=Path, metavar="FILE", help="default: preview.png"
    )
    preview.set_defaults(command=_preview_data)

    prepare = commands.add_parser("prepare-data", help="a dataset as it is distributed, into a source")
    prepare.add_argument("name", nargs="?", default="help", help="such as casia_v1; help, or none: list all")
    prepare.add_argument("--from", dest="folder", type=Path, metavar="DIR", help="where its files are")
    prepare.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="default: $TFDS_DATA_DIR, ~/tensorflow_datasets; of bsds500 and camera-originals: data",
    )
    prepare.set_defaults(command=_prepare_data)


def _check_data(arguments: argparse.Namespace) -> int:
    """Print what was found; write check.json and check.png. Exit status 1: training must not start."""
    from pimjax.data.images import write_png
    from pimjax.data.registry import load_source
    from pimjax.data_checks.checks import check_alignment, check_facts, check_overlap, summary
    from pimjax.data_checks.contact_sheets import checked_sheet
    from pimjax.data_checks.facts import read_all_facts
    from pimjax.data_checks.report import findings_table, write_json

    for name in ("check.json", "check.png"):
        claim(arguments.output / name)
    source = load_source(arguments.source)
    _say_passed_over(source)
    bar: dict[str, Any] = {"unit": "example", "dynamic_ncols": True, "mininterval": bar_interval()}
    facts = list(tqdm(read_all_facts(source), total=len(source), **bar))
    findings = check_facts(facts, arguments.max_unreadable) + check_alignment(source, facts)
    if arguments.against:
        other = load_source(arguments.against)
        _say_passed_over(other)
        others = list(tqdm(read_all_facts(other), total=len(other), **bar))
        findings += check_overlap(facts, others)
    # First what is kept: who reads along may leave before the end.
    write_json(arguments.output / "check.json", arguments.source, facts, findings)
    write_png(arguments.output / "check.png", checked_sheet(source, facts))
    say("", *findings_table(summary(facts), findings).split("\n"), "")
    say(f"every example: {arguments.output / 'check.json'}", f"pictures: {arguments.output / 'check.png'}")
    forbidden = [finding.kind for finding in findings if finding.fatal]
    say(f"training must not start: {', '.join(forbidden)}" if forbidden else "training may start")
    return 1 if forbidden else 0


def _say_passed_over(source: Any) -> None:
    if source.passed_over:
        warn(f"note: {source.name}: {source.passed_over}")


def _preview_data(arguments: argparse.Namespace) -> int:
    """Write a contact sheet of training samples."""
    from pimjax.data.donors import Donors
    from pimjax.data.images import write_png
    from pimjax.data.pipeline import TrainTransform
    from pimjax.data.registry import load_source
    from pimjax.data_checks.contact_sheets import preview_sheet

    config = read_config(arguments.config)
    check(config)
    claim(arguments.output)
    sources = tuple(map(load_source, config.data.train))
    for source in sources:
        _say_passed_over(source)
    transform = TrainTransform(config.data, config.pida, Donors(sources))
    write_png(arguments.output, preview_sheet(sources, transform, config.seed, arguments.rows))
    say(f"pictures: {arguments.output}")
    return 0


def _prepare_data(arguments: argparse.Namespace) -> int:
    """Prepare a dataset; list all if none is named; say how its files must lie if they do not (exit status 2)."""
    from pimjax.data.datasets.origins import ORIGINS, listing

    name = arguments.name.replace("camera_originals", "camera-originals")  # as its files are called
    known = name.partition("/")[0]
    if known not in ORIGINS:
        say(*listing().split("\n"))
        if name == "help":
            return 0
        raise ValueError(f"{name!r}: no such dataset; there are {', '.join(ORIGINS)}")
    from pimjax.data.datasets.catalog import PHOTOGRAPHS, instructions, prepare, prepare_photographs

    if arguments.folder is None:
        say(*instructions(name).split("\n"), "", f"Published: {ORIGINS[known]}", "")
        raise ConfigError(f"give the folder with these files: pimjax prepare-data {name} --from DIR")
    (prepare_photographs if name in PHOTOGRAPHS else prepare)(name, arguments.folder, arguments.to)
    return 0
