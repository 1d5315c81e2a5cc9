"""Scores of a map of probabilities against its truth, under the conventions of the field. NumPy and OpenCV alone."""

from pimjax.metrics.conventions import CONVENTIONS, score

__all__ = ["CONVENTIONS", "score"]
