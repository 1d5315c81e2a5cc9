"""Other ways to ask a model for a photo's map: mirrored too, scaled first, in tiles. Each makes a model of a model.

A model is any function from uint8 RGB [H, W, 3] to a probability of manipulation [h, w] in 0..1.
"""

import cv2
import numpy as np

from pimjax.evaluation.entrants import Model


def flip_averaged(model: Model) -> Model:
    """The mean of the photo's map and of the mirrored photo's, mirrored back."""

    def predict(image: np.ndarray) -> np.ndarray:
        mirrored = model(np.ascontiguousarray(image[:, ::-1]))
        return (model(image) + mirrored[:, ::-1]) / 2

    return predict


def resized(model: Model, side: int) -> Model:
    """The map of the photo scaled until its longer side is `side` pixels."""

    def predict(image: np.ndarray) -> np.ndarray:
        H, W, _ = image.shape
        scale = side / max(H, W)
        size = max(1, round(W * scale)), max(1, round(H * scale))
        return model(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))

    return predict


def tiled(model: Model, side: int, overlap: float = 0.25) -> Model:
    """The map of the photo in tiles of side×side native pixels, of which each overlaps the next by a share of its side.

    Where tiles overlap, their maps are averaged with weights that fall to nearly 0 at a tile's edge. A photo smaller
    than a tile is one tile, as it is. The map is of the photo's size, float32 [H, W].
    """
    step = max(1, round(side * (1 - overlap)))

    def predict(image: np.ndarray) -> np.ndarray:
        H, W, _ = image.shape
        total, weights = np.zeros((2, H, W), np.float32)
        for y in _starts(H, side, step):
            for x in _starts(W, side, step):
                tile = np.ascontiguousarray(image[y : y + side, x : x + side])
                h, w, _ = tile.shape
                map_ = cv2.resize(model(tile), (w, h), interpolation=cv2.INTER_LINEAR)
                weight = np.outer(_window(h), _window(w))
                total[y : y + h, x : x + w] += weight * map_
                weights[y : y + h, x : x + w] += weight
        return total / weights

    return predict


def _starts(length: int, side: int, step: int) -> list[int]:
    """Where tiles begin: as evenly as whole pixels allow, the last one ending with the photo."""
    if length <= side:
        return [0]
    many = -(-(length - side) // step) + 1
    return [round(i * (length - side) / (many - 1)) for i in range(many)]


def _window(length: int) -> np.ndarray:
    """A raised cosine that is nowhere 0, float32 [length]."""
    return (1.02 - np.cos(2 * np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)
