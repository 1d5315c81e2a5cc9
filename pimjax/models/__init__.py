"""PIM and the networks it is compared with, as Flax modules."""

from pimjax.models.factory import create_model

__all__ = ["create_model"]
