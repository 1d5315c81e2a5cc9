"""Commands that measure: evaluate, robustness, report, bench."""

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

from pimjax.config import PRECISIONS, ModelConfig
from pimjax.config_files import read_config


def add_commands(commands: Any) -> None:
    """Adds them to argparse's subparsers."""
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
