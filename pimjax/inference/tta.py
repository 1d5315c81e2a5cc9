"""Other ways to ask a model for a photo's map: mirrored too, scaled first, in tiles. Each makes a model of a model.

`Model` is any function from uint8 RGB [H, W, 3] to a probability of manipulation, real [h, w] in 0..1.
"""

from collections.abc import Callable

import cv2
import numpy as np

from pimjax.inference.tiles import blend_tiles

Model = Callable[[np.ndarray], np.ndarray]


def flip_averaged(model: Model) -> Model:
    """Average the photo's map and the mirrored photo's, mirrored back."""

    def predict(image: np.ndarray) -> np.ndarray:
        mirrored = model(np.ascontiguousarray(image[:, ::-1]))
        return (model(image) + mirrored[:, ::-1]) / 2

    return predict


def resized(model: Model, side: int) -> Model:
    """Map the photo scaled until its longer side is `side` pixels."""

    def predict(image: np.ndarray) -> np.ndarray:
        H, W, _ = image.shape
        scale = side / max(H, W)
        size = max(1, round(W * scale)), max(1, round(H * scale))
        return model(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))

    return predict


def tiled(model: Model, side: int, overlap: float = 0.25) -> Model:
    """Map the photo in tiles of side×side native pixels, each overlapping the next by that share of its side.

    The map is of the photo's size, float32 [H, W]; see `pimjax.inference.tiles.blend_tiles`.
    """

    def predict(image: np.ndarray) -> np.ndarray:
        def of_tile(tile: np.ndarray) -> dict[str, np.ndarray]:
            return {"map": cv2.resize(model(tile), tile.shape[1::-1], interpolation=cv2.INTER_LINEAR)}

        return blend_tiles(of_tile, image, side, round(overlap * side))["map"]

    return predict
