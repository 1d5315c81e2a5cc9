"""What is measured, and the pimjax side of it: compiled functions of no arguments, each in a process of its own."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

from pimjax.allocator import resident_peak
from pimjax.config import LossConfig, ModelConfig, NetworkConfig, OptimizerConfig

TASKS = ("mask", "all", "train")  # inference of the mask, of all three outputs; one training step


@dataclasses.dataclass(frozen=True)
class Case:
    """One measurement."""

    task: str
    size: int  # side of the square input, in pixels
    batch: int  # images, on one device
    precision: str  # "float32" or "bfloat16"
    model: NetworkConfig = dataclasses.field(default_factory=ModelConfig)


@dataclasses.dataclass(frozen=True)
class Subject:
    """A prepared case."""

    run: Callable[[], Any]  # once, to the end
    # Bytes so far: of the accelerator, or of this process where there is none; None where nobody knows.
    peak_memory: Callable[[], int | None]
    facts: dict[str, Any]  # "device", "version", "compile_s", and "operations" of one run, if known


def prepare_pimjax(case: Case) -> Subject:
    """Prepare pimjax on the first device: training as `train.py` maps it, inference as `Localizer` folds it."""
    import jax

    local = jax.local_devices()[:1]
    function, arguments = _training(case) if case.task == "train" else _inference(case)
    lowered = function.lower(*arguments)
    began = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - began
    state = list(arguments)

    def run() -> None:
        out = jax.block_until_ready(compiled(*state))
        if case.task == "train":
            state[0] = out[0]

    def peak_memory() -> int | None:
        stats = local[0].memory_stats() if local[0].platform != "cpu" else None
        return stats["peak_bytes_in_use"] if stats else resident_peak()

    facts = {
        "device": f"1 × {local[0].device_kind}",
        "version": f"jax {jax.__version__}",
        "compile_s": seconds,
        # Counted before XLA's passes, which on a CPU hide products inside library calls.
        "operations": lowered.cost_analysis()["flops"],
    }
    return Subject(run, peak_memory, facts)


def _inference(case: Case) -> tuple[Any, tuple[Any, ...]]:
    import jax
    import jax.numpy as jnp

    from pimjax.models.factory import create_model
    from pimjax.models.layers import Execution
    from pimjax.weights.fold import fold_batch_norm

    model = create_model(case.model, Execution(dtype=jnp.dtype(case.precision), folded=True))
    images = jax.random.normal(jax.random.key(0), (case.batch, case.size, case.size, 3))
    outputs = 1 if case.task == "mask" else 3
    function = jax.jit(lambda variables, images: model.apply(variables, images)[:outputs])
    return function, (jax.device_put(fold_batch_norm(stand_in(case.model))), images)


def _training(case: Case) -> tuple[Any, tuple[Any, ...]]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from pimjax.models.factory import create_model
    from pimjax.models.layers import Execution
    from pimjax.training.optimizer import make_optimizer
    from pimjax.training.sharding import Partition
    from pimjax.training.step import StepConfig, state_from, train_step

    partition = Partition(tuple(jax.local_devices()[:1]))
    model = create_model(case.model, Execution(dtype=jnp.dtype(case.precision)))
    optimizer = make_optimizer(OptimizerConfig())
    state = state_from(stand_in(case.model), optimizer, jax.random.key(0))
    rng, small = np.random.default_rng(0), (case.batch, -(-case.size // 4), -(-case.size // 4))
    batch = {
        "image": rng.integers(0, 256, (case.batch, case.size, case.size, 3), np.uint8),
        "mask": rng.integers(0, 2, small, np.uint8),
        "boundary": rng.integers(0, 2, small, np.uint8),
        "target": rng.standard_normal((*small, 3), np.float32),
        "stop": np.zeros(case.batch, bool),
    }
    step = functools.partial(train_step, StepConfig(model, optimizer, LossConfig()))
    return partition.map_step(step, state), (partition.device_put(state), partition.split_batch(batch))


def stand_in(model: NetworkConfig) -> dict[str, Any]:
    """Return variables of the model's shapes with values of ordinary size, as numpy arrays; speed depends on no
    others.
    """
    import jax
    import numpy as np

    from pimjax.weights.names.pim import variable_shapes

    rng = np.random.default_rng(0)

    def leaf(path: Any, shape: Any) -> np.ndarray:
        if path[-1].key in ("scale", "var"):
            return np.ones(shape.shape, np.float32)
        return np.float32(0.02) * rng.standard_normal(shape.shape, np.float32)

    return jax.tree_util.tree_map_with_path(leaf, variable_shapes(model))
