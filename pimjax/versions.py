"""The versions of what computes: kept with every result."""

import functools
import importlib.metadata
import platform

import pimjax


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions that numbers depend on."""
    names = ("jax", "flax", "numpy", "opencv-python")
    found = {"pimjax": pimjax.__version__} | {name: _version(name) for name in names}
    return found | {"python": platform.python_version(), "machine": platform.machine()}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # OpenCV comes by other names, too
        return importlib.metadata.version(f"{name}-headless")
