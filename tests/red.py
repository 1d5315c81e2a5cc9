"""A stand-in for a trained model: quick, and its answers are plain to see."""

import numpy as np

from pimjax.inference.localizer import Localization


class Red:
    """A localizer that takes red for manipulated."""

    hash, batch, precision = "0" * 64, 2, "float32"

    def __init__(self):
        self.seen = []  # photos of each call

    def localize(self, photos, details=False, orientations=()):
        self.seen.append(len(photos))
        results = []
        for photo in photos:
            red = photo[..., 0] / np.float32(255)
            results.append(Localization(photo, red, red, float(red.max()), red if details else None))
        return results
