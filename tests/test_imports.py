"""Imports run one way: each package may import the ones before it, and itself."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONFIG = {"config", "config_values", "config_checks", "config_files", "config_flags"}
TELL = {"files", "terminal"}  # writing and printing
ALLOWED = {
    "config_values": set(),
    "config": {"config_values"},
    "config_checks": {"config", "config_values"},
    "config_files": {"config", "config_values", "files"},
    "config_flags": {"config", "config_values", "config_files", "terminal"},
    "normalization": set(),
    "jpeg_tables": set(),
    "allocator": set(),
    "files": set(),
    "terminal": {"files"},
    "ending": {"terminal"},
    "pictures": set(),
    "data": TELL | {"config", "normalization", "jpeg_tables"},
    "inspection": TELL | {"config", "data", "pictures"},
    "models": {"config", "normalization", "jpeg_tables"},
    "weights": CONFIG | TELL | {"normalization", "models"},
    "baselines": {"data", "models"},
    "evaluation": TELL | {"data", "inspection", "normalization", "pictures"},
    "training": CONFIG | TELL | {"ending", "normalization", "data", "inspection", "models", "weights", "evaluation"},
    "inference": TELL
    | {"config", "ending", "normalization", "pictures", "data", "models", "weights", "baselines"}
    | {"evaluation", "training"},
    "benchmark": {
        "config",
        "ending",
        "files",
        "terminal",
        "allocator",
        "data",
        "models",
        "weights",
        "evaluation",
        "training",
    },
    "cli": CONFIG
    | TELL
    | {
        "allocator",
        "ending",
        "pictures",
        "benchmark",
        "data",
        "inspection",
        "weights",
        "evaluation",
        "training",
        "inference",
    },
}
# Files that know less than their package.
STRICTER = {
    "training/step.py": {"config", "normalization", "models"},
    **{f"evaluation/{name}.py": set() for name in ("counts", "curves", "pooled", "intervals", "metrics", "protocols")},
}
ONLY_HERE = {
    "gradio": {"pimjax/inference/app.py"},
    "jinja2": {"pimjax/evaluation/report.py"},
    "matplotlib": {"pimjax/evaluation/plots.py"},
    "grain": {"pimjax/data/pipeline.py"},
    "orbax": {"pimjax/training/checkpoint.py", "pimjax/weights/files.py"},
    "safetensors": {"pimjax/weights/files.py"},
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
    package = relative.parts[0].removesuffix(".py")
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("pimjax.")} - {package}
    assert rooms <= STRICTER.get(relative.as_posix(), ALLOWED[package]), f"{relative} imports {rooms}"


def test_formats_of_others_are_known_to_their_files_only():
    for library, homes in ONLY_HERE.items():
        users = {p.relative_to(ROOT).as_posix() for p in FILES for n in imported(p) if n.split(".")[0] == library}
        assert users == homes


def test_configuration_and_data_need_no_jax():
    for path in FILES:
        if path.relative_to(ROOT / "pimjax").parts[0].removesuffix(".py") in CONFIG | {
            "data",
            "files",
            "terminal",
            "ending",
            "inspection",
            "normalization",
            "baselines",
            "evaluation",
        }:
            assert not {name for name in imported(path) if name.split(".")[0] in ("jax", "flax", "optax")}, path


def test_the_entry_point_is_short():
    assert len((ROOT / "train.py").read_text(encoding="utf-8").splitlines()) < 50
