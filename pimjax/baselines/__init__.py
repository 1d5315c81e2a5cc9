"""Detectors to compare with, older than PIM or simpler, by the names that command lines use."""

from pimjax.baselines.classical import error_level, everything, noise_level
from pimjax.baselines.copies import copies
from pimjax.baselines.jpeg_grid import jpeg_grid

CLASSICAL = {
    "everything": everything,
    "error-level": error_level,
    "noise-level": noise_level,
    "jpeg-grid": jpeg_grid,
    "copies": copies,
}
