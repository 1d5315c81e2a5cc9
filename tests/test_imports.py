"""Imports run one way: each package may import the ones before it, and itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Every room, and below it those that it may import from.
ORDER = [
    "aliases",
    "versions",
    "files",
    "terminal",
    "shutdown",
    "config",
    "normalization",
    "visualize",
    "allocator",
    "jpeg",
    "metrics",
    "data",
    "data_checks",
    "models",
    "weights",
    "baselines",
    "training",
    "inference",
    "evaluation",
    "profiling",
    "cli",
    "__main__",
]
SIBLINGS = {
    "training": {"inference"},
    "inference": {"training"},
    "evaluation": {"training"},
}  # that do without each other
NO_JAX = {*ORDER[: ORDER.index("data_checks") + 1]} - {"jpeg", "allocator"}
# Files that know less than their room may.
STRICTER = {
    "training/step.py": {"config", "normalization", "models"},
    "evaluation/corruptions.py": set(),
}
ONLY_HERE = {
    "gradio": {"pimjax/inference/app.py"},
    "jinja2": {"pimjax/evaluation/report.py"},
    "matplotlib": {"pimjax/evaluation/plots.py"},
    "grain": {"pimjax/data/pipeline.py"},
    "orbax": {"pimjax/training/checkpoint.py", "pimjax/weights/formats.py", "pimjax/weights/runs.py"},
    "safetensors": {"pimjax/weights/formats.py"},
}


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


FILES = sorted((ROOT / "pimjax").rglob("*.py"))


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name != "pimjax" or p.name != "__init__.py"], ids=str)
def test_imports_run_one_way(path):
    relative = path.relative_to(ROOT / "pimjax")
    room = relative.parts[0].removesuffix(".py")
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("pimjax.")} - {room}
    above = set(ORDER[ORDER.index(room) :]) | SIBLINGS.get(room, set())
    assert not rooms & above, f"{relative} imports {rooms & above}, which stand above it: move what it needs below both"
    allowed = STRICTER.get(relative.as_posix(), rooms)
    assert rooms <= allowed, f"{relative} imports {rooms - allowed}; it must do without"


def test_using_a_model_needs_nothing_of_training():
    """A fresh interpreter, since the tests' own has imported everything."""
    code = "import sys, pimjax.inference.localizer, pimjax.inference.predict; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pimjax.inference.localizer" in modules
    assert not [name for name in modules if name.startswith(("pimjax.training", "pimjax.evaluation", "optax", "grain"))]


def test_formats_of_others_are_known_to_their_files_only():
    for library, homes in ONLY_HERE.items():
        users = {p.relative_to(ROOT).as_posix() for p in FILES for n in imported(p) if n.split(".")[0] == library}
        assert users == homes


def test_configuration_data_and_metrics_need_no_jax():
    for path in FILES:
        if path.relative_to(ROOT / "pimjax").parts[0].removesuffix(".py") in NO_JAX:
            assert not {name for name in imported(path) if name.split(".")[0] in ("jax", "flax", "optax")}, path


def test_the_entry_point_is_short():
    assert len((ROOT / "train.py").read_text(encoding="utf-8").splitlines()) < 50
