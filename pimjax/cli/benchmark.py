"""The command benchmark: a plan of models, datasets and corruptions, run to tables and a page."""

import argparse
from pathlib import Path
from typing import Any

from pimjax.cli import values
from pimjax.shutdown import RESUMES
from pimjax.terminal import command_line, say, warn


def add_commands(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    benchmark = commands.add_parser(
        "benchmark",
        help="a plan file of models, datasets and corruptions: runs what is missing, writes tables and a page",
        description="Each model is scored by a process of its own; the same command goes on where it was stopped. On a "
        "cluster, --model NAME scores one model alone, and the command without it makes the tables of all.",
    )
    benchmark.add_argument("plan", type=Path, metavar="PLAN.toml", help="pimjax/evaluation/README.md lists its keys")
    benchmark.add_argument("--workers", type=values.count, default=1, metavar="N", help="processes; default: 1")
    benchmark.add_argument("--model", default="", metavar="NAME", help="score this model of the plan alone, no tables")
    benchmark.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)  # ends when its standard input does
    benchmark.set_defaults(command=_benchmark, interrupted=RESUMES)


def _benchmark(arguments: argparse.Namespace) -> int:
    """Run the plan, or one model of it. Exit status 1, or 3 of one model: something was not scored."""
    from pimjax.evaluation.plan import read_plan

    plan = read_plan(arguments.plan)
    if arguments.model:
        from pimjax.evaluation.plan_run import UNSCORED, run_model

        return UNSCORED if run_model(plan, arguments.model, arguments.worker) else 0
    from pimjax.evaluation.benchmark import locked
    from pimjax.evaluation.plan_output import FILES, write_output
    from pimjax.evaluation.plan_workers import run_workers

    with locked(plan.output):
        failed, unscored = run_workers(plan, arguments.workers)
        for name, why in failed.items():
            warn(f"error: {name} does not take part: {why}")
        tables = write_output(plan, failed, command_line())
    say("", *(plan.output / "tables.md").read_text(encoding="utf-8").split("\n"))
    if tables:
        say(f"written to {plan.output}: {', '.join(name for name in FILES if (plan.output / name).exists())}")
    return 1 if failed or unscored else 0
