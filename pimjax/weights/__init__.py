"""Weights from and to other formats."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pimjax.weights.released import from_released, to_released

__all__ = ["from_released", "to_released"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # imported when asked for: a command's help needs none of their libraries
        from pimjax.weights import released

        return getattr(released, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
