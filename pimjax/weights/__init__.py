"""Weights from and to other formats."""

from pimjax.weights.released import from_released, to_released

__all__ = ["from_released", "to_released"]
