"""The weights and inputs under which the released PyTorch model's outputs in tests/reference were recorded.

No checkpoint is needed: every array is drawn from a generator seeded by its own name.
"""

import json
import zlib
from pathlib import Path

import numpy as np

from pimjax.models.windows import relative_position_index

REFERENCE = Path(__file__).parent / "reference"


def generator(seed: int, name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(f"{seed}:{name}".encode())))


def weight(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    z = generator(seed, name).standard_normal(shape, dtype=np.float32)
    if name.endswith("running_mean"):
        return np.float32(0.1) * z
    if name.endswith("running_var"):
        return 1 + np.float32(0.2) * np.abs(z)
    if name.endswith("relative_position_bias_table"):
        return np.float32(0.2) * z
    if len(shape) == 1:
        return (1 if name.endswith("weight") else 0) + np.float32(0.1) * z
    return z * np.float32(np.prod(shape[1:]) ** -0.5)


def state_dict(seed: int) -> dict[str, np.ndarray]:
    arrays = {}
    for name, (shape, _) in json.loads((REFERENCE / "state_dict_keys.json").read_text()).items():
        if name.endswith("relative_position_index"):
            arrays[name] = relative_position_index(7)
        elif name.endswith("num_batches_tracked"):
            arrays[name] = np.zeros((), np.int64)
        else:
            arrays[name] = weight(seed, name, tuple(shape))
    return arrays


def image(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return generator(seed, "image").standard_normal(shape, dtype=np.float32)
