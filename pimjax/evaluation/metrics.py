"""`pimjax.metrics` under its name of pimjax 0.1."""

from pimjax.metrics.conventions import CONVENTIONS, detection, image_score, score, score_images

__all__ = ["CONVENTIONS", "detection", "image_score", "score", "score_images"]
