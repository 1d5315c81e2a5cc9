"""Photographs, masks, PIDA and the input pipeline."""
