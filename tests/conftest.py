import os
from pathlib import Path

import compilation

os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *compilation.QUICK])
# XLA's programs are kept between runs, and for the processes that tests start: what has changed is compiled, once.
if cache := os.environ.get("PIMJAX_TEST_CACHE", str(Path.home() / ".cache/pimjax/tests")):
    Path(cache).mkdir(parents=True, exist_ok=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"

import jax

jax.config.update("jax_num_cpu_devices", 8)

# With two workers taking whole files, a long one that comes last leaves the other worker idle. Those named here compile
# for long or start many processes; `pytest -m fast` is all the others.
LONGEST_FIRST = (
    "test_parity",
    "test_compared",
    "test_compared_training",
    "test_model",
    "test_numerics",
    "test_fault_tolerance",
    "test_train_options",
    "test_training",
    "test_distributed",
    "test_training_run",
    "test_integrity",
    "test_terminal",
    "test_compared_tensorflow",
    "test_flops",
    "test_plan",
    "test_baselines",
    "test_weight_formats",
    "test_predict",
    "test_evaluation_state",
    "test_readme",
    "test_training_start",
    "test_evaluation",
    "test_profiling",
    "test_pretrained",
    "test_optimizer",
    "test_demo",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.stem) if item.path.stem in LONGEST_FIRST else 99)
    for item in items:
        if item.path.stem not in LONGEST_FIRST and not item.get_closest_marker("slow"):
            item.add_marker("fast")
