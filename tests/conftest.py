import os

# Compilation takes most of the tests' time, and what is compiled runs for seconds: optimise less.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture(scope="session", autouse=True)
def compile_each_program_once(tmp_path_factory):
    """Runs that repeat or resume a run compile the same program; in a session it is compiled once."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "compiled"
    folder.mkdir(exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


# With two workers taking whole files, a long one that comes last leaves the other worker idle.
LONGEST_FIRST = (
    "test_training",
    "test_training_run",
    "test_fault_tolerance",
    "test_train_options",
    "test_distributed",
    "test_parity",
    "test_numerics",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.stem) if item.path.stem in LONGEST_FIRST else 99)
