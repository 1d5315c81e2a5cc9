"""The commands evaluate, robustness and report: score models on datasets."""

import argparse
from pathlib import Path
from typing import Any

from pimjax.cli import values
from pimjax.config.schema import PRECISIONS
from pimjax.data.map_frame import FRAMES
from pimjax.evaluation.corruption_levels import LEVELS, chosen_levels, describe
from pimjax.shutdown import RESUMES
from pimjax.terminal import command_line, say, warn


def add_commands(commands: Any) -> None:
    """Add the commands to argparse's subparsers."""
    evaluate = commands.add_parser("evaluate", help="score models, or saved maps, on datasets of images")
    _add_benchmark_options(evaluate, Path("evaluation"))
    evaluate.set_defaults(command=_evaluate, interrupted=RESUMES)

    robustness = commands.add_parser(
        "robustness",
        help="how scores fall as images are corrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n  ".join(["what --corruption may name, and the levels that are measured:", *map(describe, LEVELS)]),
    )
    _add_benchmark_options(robustness, Path("robustness"))
    robustness.add_argument(
        "--corruption",
        "--protocol",  # as pimjax 0.1 called it
        nargs="+",
        default=["blur", "noise", "jpeg"],
        metavar="NAME[=LEVEL,LEVEL]",
        help="such as jpeg=90,75 webp=80 rescale=0.5; default: blur noise jpeg, at all their levels (below)",
    )
    robustness.set_defaults(command=_robustness, interrupted=RESUMES)

    report = commands.add_parser("report", help="one HTML page of what evaluate and robustness wrote (extra report)")
    report.add_argument("evaluation", type=Path, metavar="DIR", help="the --output of pimjax evaluate")
    report.add_argument("--robustness", type=Path, metavar="DIR", help="the --output of pimjax robustness")
    report.add_argument("--output", default=Path("report.html"), type=Path, metavar="FILE", help="default: report.html")
    report.set_defaults(command=_report)


def _add_benchmark_options(parser: argparse.ArgumentParser, output: Path) -> None:
    """Add what evaluate and robustness have in common: who takes part, on what."""
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="[NAME=]MODEL",
        help="pim-small, a checkpoint, MODULE:FUNCTION, or a classical detector; a wrong name lists these",
    )
    parser.add_argument("--source", nargs="+", required=True, metavar="[NAME=]SOURCE", help="such as csv:FILE")
    parser.add_argument("--threshold", type=values.share, default=0.5, help="default: 0.5")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS, help="of checkpoints; default: float32")
    parser.add_argument("--flip", action="store_true", help="every model with flip averaging, too")
    parser.add_argument("--tiles", type=values.side, metavar="SIDE", help="and in overlapping tiles of native pixels")
    parser.add_argument(
        "--resize", type=values.side, nargs="+", default=[], metavar="SIDE", help="and scaled to a longer side"
    )
    parser.add_argument("--output", type=Path, default=output, metavar="DIR", help=f"default: {output}")
    if output.name == "evaluation":  # saved maps are of images as they are
        parser.add_argument(
            "--predictions",
            nargs="+",
            default=[],
            metavar="[NAME=]DIR",
            help="maps by another program, PNG, NPY, NPZ, or the --output of pimjax predict",
        )
        parser.add_argument("--invert", action="store_true", help="in --predictions, white means authentic")
        parser.add_argument(
            "--maps-frame",
            choices=FRAMES,
            help="how --predictions lie, of photos that EXIF says are stored turned; maps of pimjax predict say so",
        )


def _benchmark(arguments: argparse.Namespace) -> tuple[list[Any], dict[str, Any], dict[str, str]]:
    """Return the predictors, the datasets by name, and why others cannot take part, by name; these are printed."""
    from pimjax.evaluation.benchmark import safe
    from pimjax.evaluation.saved_maps import folder_predictor

    datasets = _datasets(arguments)
    predictors, failed = _models(arguments)
    ids = [id_ for source in datasets.values() for id_ in source.ids()]
    for text in getattr(arguments, "predictions", []):
        name, what = _named(text)
        name = name or Path(what).resolve().name
        predictors.append(folder_predictor(name, what, ids, arguments.invert, arguments.maps_frame))
    names = [
        safe(name) for name in (*(predictor.name for predictor in predictors), *failed)
    ]  # which their folders bear
    if len(names) != len(set(names)):
        same = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"two predictors are called {same[0]}; name one, as in --model other=...")
    if not predictors:
        raise ValueError(next(iter(failed.values()), "give --model or --predictions"))
    for name, why in failed.items():
        warn(f"error: {name} does not take part: {why}")
    return predictors, datasets, failed


def _datasets(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the datasets by name."""
    from pimjax.data.registry import load_source
    from pimjax.evaluation.benchmark import safe

    datasets: dict[str, Any] = {}
    for text in arguments.source:
        name, what = _named(text)
        source = load_source(what)
        name = name or Path(what.partition(":")[2]).resolve().stem
        if safe(name) in map(safe, datasets):
            raise ValueError(f"two datasets are called {name}; name one, as in --source other={what}")
        datasets[name] = source
        if source.passed_over:
            warn(f"note: {source.name}: {source.passed_over}")
    return datasets


def _models(arguments: argparse.Namespace) -> tuple[list[Any], dict[str, str]]:
    """Return the models that can be loaded, in all ways that were asked for, and why others cannot, by name."""
    from pimjax.evaluation.load_predictor import UnknownModelError, open_model, with_options

    predictors, failed = [], {}
    for text in arguments.model:
        name, what = _named(text)
        try:
            model = open_model(what, name, arguments.precision)
        except UnknownModelError:
            raise  # a slip of the pen, better told before hours of work
        except (ValueError, OSError) as error:
            failed[name or Path(what).stem] = str(error)
        else:
            predictors += with_options(model, arguments.flip, arguments.tiles, arguments.resize)
    return predictors, failed


def _named(text: str) -> tuple[str, str]:
    """Return (NAME, WHAT) of "NAME=WHAT", ("", text) of anything else."""
    name, equals, what = text.partition("=")
    return (name, what) if equals and name and not set(name) & set("/\\:") else ("", text)


def _evaluate(arguments: argparse.Namespace) -> int:
    """Print the tables; write them, and all that is known of each image. Exit status 1: something was not scored."""
    from pimjax.evaluation.benchmark import run_benchmark

    predictors, datasets, failed = _benchmark(arguments)
    results = run_benchmark(predictors, datasets, arguments.output, arguments.threshold, command_line(), failed)
    say("", *(arguments.output / "tables.md").read_text(encoding="utf-8").split("\n"))
    models = {predictor.name for predictor in predictors}
    now = [result for result in results if result.model in models and result.dataset in datasets]
    say(f"every image: {arguments.output}/MODEL/SET/images.csv", f"a page: pimjax report {arguments.output}")
    return 1 if failed or any(result.summary.errors for result in now) else 0


def _robustness(arguments: argparse.Namespace) -> int:
    """Print a row per level; draw the curves. Exit status 1: something was not scored."""
    from pimjax.evaluation.robustness import robustness_table, run_robustness

    chosen_levels(arguments.corruption)  # a wrong one is told before models are loaded
    predictors, datasets, failed = _benchmark(arguments)
    result = run_robustness(
        predictors, datasets, arguments.corruption, arguments.output, arguments.threshold, command_line(), failed
    )
    say("", *robustness_table(result).split("\n"))
    try:
        from pimjax.evaluation.plots import save_robustness
    except ValueError as error:
        say(f"no curves: {error}")
    else:
        save_robustness(result["rows"], arguments.output / "robustness", ours=True)
        say(f"curves: {arguments.output}/robustness.png and .svg")
    return 1 if result["errors"] else 0


def _report(arguments: argparse.Namespace) -> int:
    """Write the page."""
    from pimjax.evaluation.report import write_report

    write_report(arguments.evaluation, arguments.output, arguments.robustness, command_line())
    say(f"report: {arguments.output}")
    return 0
