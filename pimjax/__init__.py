"""Pixel-Inconsistency Modeling (PIM) for image manipulation localization, in JAX and Flax."""
