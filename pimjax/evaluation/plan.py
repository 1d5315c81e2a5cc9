"""A benchmark as a file: which models, on which datasets, under which corruptions, in which tables. TOML."""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pimjax.config.schema import PRECISIONS
from pimjax.config.values import ConfigError, Section, key, section
from pimjax.data.map_frame import FRAMES
from pimjax.evaluation.benchmark import safe
from pimjax.evaluation.corruption_levels import chosen_levels
from pimjax.evaluation.schema import METRICS

T = TypeVar("T", bound=Section)

PATHS = ("csv", "json", "folder", "pairs")  # sources that name a file or a folder
SCORES = tuple(f"{convention}.{name}" for convention, names in METRICS.items() for name in names)


@section
class PlanConfig(Section, root="plan."):
    """What holds for the whole benchmark."""

    output: str = key("")  # a folder, beside the plan unless it is absolute; "": the plan's name
    threshold: float = key(0.5, 0, 1)  # a prediction strictly above it is positive
    precision: str = key("float32", choices=PRECISIONS)  # of checkpoints
    scores: tuple[str, ...] = key(
        ("pim-fullsize.f1", "pim.f1", "benco.auc"), choices=SCORES, items=(1, 99)
    )  # a table each
    versus: str = key("")  # the model that the others are tested against, paired by image; "": the first


@section
class ModelEntry(Section, root="models."):
    """One row of the tables: a checkpoint, a function, a classical detector, or a folder of maps."""

    name: str = key("")  # "": the last part of what follows
    model: str = key("")  # a checkpoint, MODULE:FUNCTION, or a classical detector
    maps: str = key("")  # or a folder of maps that another program wrote
    invert: bool = False  # of maps: white means authentic
    frame: str = key("", choices=("", *FRAMES))  # of maps: how they lie, of photos that EXIF says are stored turned


@section
class DatasetEntry(Section, root="datasets."):
    """One dataset."""

    name: str = key("")  # "": the source's last part
    source: str = key("")  # such as csv:FILE; a file is beside the plan unless it is absolute
    every: int = key(1, 1)  # every n-th image alone
    start: int = key(0, 0)  # from this one on, so that one half chooses and the other reports
    corrupted: bool = True  # whether the corruptions are measured on it
    kinds: tuple[str, ...] = ()  # "KIND=PATTERN" of an image's name, such as "splice=Sp_D*"


@section
class CitedEntry(Section, root="cited."):
    """A number that somebody else published; it stands in the tables in gray and has no rank."""

    model: str = key("")
    dataset: str = key("")
    score: str = key("pim-fullsize.f1", choices=SCORES)
    value: float = key(0.0, 0, 1)
    source: str = key("")  # paper and table


@dataclasses.dataclass(frozen=True)
class Plan:
    """A plan file, read and checked."""

    file: Path
    config: PlanConfig
    models: tuple[ModelEntry, ...]
    datasets: tuple[DatasetEntry, ...]
    cited: tuple[CitedEntry, ...]
    corruptions: Mapping[str, tuple[float, ...]]  # levels by name

    @property
    def output(self) -> Path:
        """Return the folder that everything is written to."""
        return self.file.parent / (self.config.output or self.file.stem)

    def path(self, what: str) -> str:
        """Return a path in the plan as seen from here: relative ones begin at the plan's folder.

        So do those of sources, "csv:FILE". A name without separator and suffix is a file's only where one is there.
        """
        scheme, colon, rest = what.partition(":")
        if colon:
            return f"{scheme}:{self.file.parent / rest}" if scheme in PATHS else what
        beside = self.file.parent / what
        return str(beside) if len(Path(what).parts) > 1 or Path(what).suffix or beside.exists() else what


def read_plan(file: Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: the file cannot be read, or a key or a value is wrong; one line that names the file and the place.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: no plan can be read from it: {error}") from None
    try:
        parts = {name: content.pop(name, []) for name in ("models", "datasets", "cited")}
        levels = _corruptions(content.pop("corruptions", {}))
        plan = Plan(
            file,
            _filled(PlanConfig, content, "the plan"),
            tuple(_all(ModelEntry, parts["models"], "models")),
            tuple(_all(DatasetEntry, parts["datasets"], "datasets")),
            tuple(_all(CitedEntry, parts["cited"], "cited")),
            levels,
        )
        _name(plan)
        _check(plan)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None
    return plan


def _filled(kind: type[T], content: Any, what: str) -> T:
    """Return a section with the keys of a TOML table."""
    if not isinstance(content, dict):
        raise ConfigError(f"{what} must be a table of keys")
    filled = kind()
    for name, value in content.items():
        if name == "kinds" and isinstance(value, dict):
            value = tuple(f"{kind}={pattern}" for kind, pattern in value.items())
        setattr(filled, name, tuple(value) if isinstance(value, list) else value)
    return filled


def _all(kind: type[T], content: Any, name: str) -> list[T]:
    if not isinstance(content, list):
        raise ConfigError(f"{name} must be a list, [[{name}]]")
    filled = []
    for number, entry in enumerate(content, 1):
        try:
            filled.append(_filled(kind, entry, f"[[{name}]]"))
        except ConfigError as error:
            raise ConfigError(f"[[{name}]] number {number}: {error}") from None
    return filled


def _corruptions(content: Any) -> dict[str, tuple[float, ...]]:
    """Return the levels of what [corruptions] names; an empty list asks for the usual ones."""
    if not isinstance(content, dict) or not all(isinstance(levels, list) for levels in content.values()):
        raise ConfigError("corruptions must be a table of lists of levels, such as jpeg = [90, 75]; [] is the usual")
    texts = [f"{name}={','.join(map(str, levels))}" if levels else name for name, levels in content.items()]
    return chosen_levels(texts)


def _name(plan: Plan) -> None:
    for model in plan.models:
        if bool(model.model) is bool(model.maps):
            raise ConfigError(f"model {model.name or '?'}: give one of model and maps")
        model.name = model.name or Path(model.model.rpartition(":")[2] or model.maps).stem
    for dataset in plan.datasets:
        if not dataset.source:
            raise ConfigError(f"dataset {dataset.name or '?'}: it has no source")
        dataset.name = dataset.name or Path(dataset.source.rpartition(":")[2]).stem
    if plan.models and not plan.config.versus:
        plan.config.versus = plan.models[0].name


def _check(plan: Plan) -> None:
    for what, entries in (("models", plan.models), ("datasets", plan.datasets)):
        names = [safe(entry.name) for entry in entries]  # which their folders bear
        if not names:
            raise ConfigError(f"it has no [[{what}]]")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"two of its {what} are called {twice[0]}; give one another name")
    if taken := {"corrupted", "logs"} & {safe(entry.name) for entry in plan.models}:
        raise ConfigError(f"a model is called {taken.pop()}, as a folder of the output; give it another name")
    models, datasets = ({entry.name for entry in entries} for entries in (plan.models, plan.datasets))
    if plan.config.versus not in models:
        raise ConfigError(f"versus is {plan.config.versus!r}; it must be one of {', '.join(sorted(models))}")
    for cited in plan.cited:
        if not (cited.model and cited.source):
            raise ConfigError("[[cited]]: a number needs model and source")
        if cited.dataset not in datasets:
            raise ConfigError(f"[[cited]] {cited.model}: dataset {cited.dataset!r} is not in the plan")
    for dataset in plan.datasets:
        if odd := [text for text in dataset.kinds if "=" not in text]:
            raise ConfigError(f"dataset {dataset.name}: kinds has {odd[0]!r}; it must be KIND=PATTERN")
