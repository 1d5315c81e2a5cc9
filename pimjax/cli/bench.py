"""The command bench: speed and memory on this machine."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from pimjax.cli import values
from pimjax.config.load import read_config
from pimjax.config.schema import PRECISIONS, ModelConfig
from pimjax.files import claim
from pimjax.terminal import say


def add_commands(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    bench = commands.add_parser("bench", help="speed and memory on this machine, beside PyTorch where installed")
    bench.add_argument(
        "--inference", nargs="*", type=values.side, default=[512], metavar="SIZE", help="default: 512 pixels"
    )
    bench.add_argument(
        "--train", nargs="*", type=values.side, default=[256], metavar="SIZE", help="default: 256 pixels"
    )
    bench.add_argument(
        "--batch", nargs="+", type=values.count, default=[2], metavar="N", help="images per run; default: 2"
    )
    bench.add_argument("--precision", default="float32", choices=PRECISIONS, help="default: float32")
    bench.add_argument("--repeats", type=values.count, default=5, help="measured runs of each; default: 5")
    bench.add_argument("--no-pytorch", action="store_true", help="leave the comparison out")
    bench.add_argument(
        "--source", default="installed:train", help="photographs for the input pipeline; '' leaves it out"
    )
    bench.add_argument("--config", type=Path, metavar="FILE", help="measure its model instead of the published one")
    bench.add_argument("--output", default=Path("bench"), type=Path, metavar="DIR", help="default: bench")
    bench.set_defaults(command=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    """Print the tables and write bench.json."""
    from pimjax.profiling import pytorch, report
    from pimjax.profiling.cases import Case
    from pimjax.profiling.measure import measure
    from pimjax.profiling.metrics import measure_scoring, scoring_table
    from pimjax.profiling.pipeline import measure_pipeline, pipeline_table

    claim(arguments.output / "bench.json")
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
        if model.architecture != "pim":
            say("no comparison with PyTorch: its composition is of PIM")
        elif lacking := pytorch.missing():
            say(f"no comparison with PyTorch: {' and '.join(lacking)} not installed")
        else:
            engines.append("pytorch")
    result = {"machine": report.machine(), "precision": arguments.precision, "model": dataclasses.asdict(model)}
    if arguments.source:
        result["pipeline"] = measure_pipeline(arguments.source)
        say("", *pipeline_table(result["pipeline"]).split("\n"), "")
    result["scoring"] = measure_scoring()
    say("", *scoring_table(result["scoring"]).split("\n"), "")
    result["rows"] = []
    report.write_json(arguments.output / "bench.json", result)
    for rows in measure(cases, engines, arguments.repeats):
        result["rows"] += rows
        report.write_json(arguments.output / "bench.json", result)  # at once: an hour's figures survive what comes next
    if cases:
        say("", *report.table(result["rows"], arguments.precision).split("\n"), "")
    where = result["machine"] | {
        row["engine"]: f"{row['device']}, {row['version']}" for row in result["rows"] if "device" in row
    }
    say(*(f"{key}: {value}" for key, value in where.items()))
    say(f"all figures: {arguments.output / 'bench.json'}")
    return 1 if any("error" in row and row["engine"] == "pimjax" for row in result["rows"]) else 0
