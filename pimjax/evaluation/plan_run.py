"""Running a plan: one model a process, whatever is missing; then everything that the tables are made of."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pimjax.allocator import resident_peak
from pimjax.config.values import ConfigError
from pimjax.data.registry import load_source
from pimjax.data.sources import Encoded, Source
from pimjax.evaluation.benchmark import safe, score_dataset
from pimjax.evaluation.evaluate import settings
from pimjax.evaluation.load_predictor import open_model
from pimjax.evaluation.plan import DatasetEntry, ModelEntry, Plan
from pimjax.evaluation.predictors import Predictor
from pimjax.evaluation.record import reserve
from pimjax.evaluation.robustness import Change, corruption_runs, level_name
from pimjax.evaluation.saved_maps import folder_predictor
from pimjax.files import write_text
from pimjax.shutdown import exit_now

UNSCORED = 3  # exit status of a process that could not score some image; others: that could not begin, or was ended


class EveryNth(Source):
    """Give every n-th example of another source, from the one at `start` on."""

    def __init__(self, source: Source, every: int, start: int = 0):
        self.name = f"{source.name}, one image in {every}" + (f" from {start} on" if start else "")
        self.passed_over, self.annotated = source.passed_over, ()
        self._source, self._numbers = source, range(start, len(source), every)

    def __len__(self) -> int:
        return len(self._numbers)

    def encoded(self, index: int) -> Encoded:
        """Return the files of the example at `index`; ImageError if they cannot be read."""
        return self._source.encoded(self._numbers[index])

    def ids(self) -> list[str]:
        """Return what tells the examples' images apart."""
        ids = self._source.ids()
        return [ids[number] for number in self._numbers]


class Task(NamedTuple):
    """One dataset, as it is or corrupted, that a model is scored on."""

    dataset: str
    about: dict[str, Any]  # "corruption" and "level", empty of the images as they are
    change: Change | None
    folder: Path  # of its rows


def open_datasets(plan: Plan) -> dict[str, Source]:
    """Return the plan's datasets by name.

    Raises:
        ValueError, OSError: one cannot be opened.
    """
    return {entry.name: _open_dataset(plan, entry) for entry in plan.datasets}


def _open_dataset(plan: Plan, entry: DatasetEntry) -> Source:
    source = load_source(plan.path(entry.source))
    if entry.start >= len(source):
        raise ConfigError(f"{plan.file}: dataset {entry.name}: start is {entry.start}, of {len(source)} images")
    return EveryNth(source, entry.every, entry.start) if entry.every > 1 or entry.start else source


def tasks_of(plan: Plan, model: str) -> Iterator[Task]:
    """Yield what a model of the plan is scored on; first every dataset as it is."""
    for entry in plan.datasets:
        yield Task(entry.name, {}, None, plan.output / safe(model) / safe(entry.name))
    saved = any(entry.maps for entry in plan.models if entry.name == model)  # of images as they are
    for about, change in corruption_runs(plan.corruptions):
        for entry in plan.datasets:
            if about and entry.corrupted and not saved:
                folder = plan.output / "corrupted" / safe(model) / safe(entry.name) / level_name(about)
                yield Task(entry.name, about, change, folder)


def run_model(plan: Plan, name: str, worker: bool = False) -> int:
    """Score one model of the plan on all that is missing, and note what it cost; return how many images failed.

    Args:
        plan: of the models.
        name: of the model.
        worker: whether this process ends with the one that started it, which holds its standard input open.

    Raises:
        ValueError, OSError: there is no such model, it or a dataset cannot be opened, or a folder holds the results of
            something else.
    """
    if worker:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    entry = next((entry for entry in plan.models if entry.name == name), None)
    if entry is None:
        raise ConfigError(f"{plan.file}: no model {name!r}; there are {', '.join(e.name for e in plan.models)}")
    datasets = open_datasets(plan)
    predictor = open_entry(plan, entry, datasets)
    tasks = list(tasks_of(plan, name))
    for task in tasks:
        about = settings(predictor, plan.config.threshold, task.about)
        reserve(task.folder, about, 0 if task.about else len(datasets[task.dataset]))
    failed, hinted = 0, set()
    for task in tasks:
        source = datasets[task.dataset]
        summary = score_dataset(predictor, source, task.folder, plan.config.threshold, hinted, task.change, task.about)
        failed += len(summary.errors)
    _note_cost(plan, entry, predictor)
    return failed


def _end_with_parent() -> None:
    """Wait for the end of standard input, then end this process: a row half written is cut off by the next run."""
    while os.read(0, 1):  # not by way of sys.stdin, whose lock would be held while Python ends
        pass
    exit_now(1)


def open_entry(plan: Plan, entry: ModelEntry, datasets: dict[str, Source]) -> Predictor:
    """Return who takes part by an entry of the plan."""
    if entry.maps:
        ids = [id_ for source in datasets.values() for id_ in source.ids()]
        return folder_predictor(entry.name, plan.path(entry.maps), ids, entry.invert, entry.frame or None)
    return open_model(plan.path(entry.model), entry.name, plan.config.precision)


def cost_file(plan: Plan, model: str) -> Path:
    """Return where a model's cost is noted."""
    return plan.output / safe(model) / "cost.json"


def _note_cost(plan: Plan, entry: ModelEntry, predictor: Predictor) -> None:
    """Write what is known of the cost; the network's part is counted once, memory is the most of all runs."""
    file = cost_file(plan, entry.name)
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    about = json.loads(json.dumps(predictor.about))
    cost = before if before.get("about") == about else {}
    if predictor.localizer is not None and "operations" not in cost:
        from pimjax.evaluation.cost import machine, network_cost

        cost |= network_cost(predictor.localizer) | {"device": machine()}
    peak = resident_peak()
    cost |= {"about": about} | ({"peak_memory_mib": max(cost.get("peak_memory_mib", 0), peak >> 20)} if peak else {})
    write_text(file, json.dumps(cost, indent=1) + "\n")
