"""Compared networks on photographs: each gets what its authors feed it, and its map is brought to the photo's size."""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from pimjax.config.networks import SPANConfig, ViTB16Config
from pimjax.config.schema import PRECISIONS
from pimjax.data.images import turn_upright
from pimjax.inference.localizer import Localization, Localizer, model_hash, require_photo
from pimjax.inference.traces import TILE, TracesByTiles
from pimjax.jpeg.coefficients import as_jpeg, read_coefficients
from pimjax.models.factory import create_model
from pimjax.models.layers import Execution
from pimjax.models.mantra_net import ManTraNet
from pimjax.models.preprocessing import Preprocessing, preprocessing_of
from pimjax.models.resampling import resampling_features
from pimjax.models.span import SPAN
from pimjax.weights.card import ModelCard


def network_inputs(photo: np.ndarray, file: bytes, how: Preprocessing) -> dict[str, np.ndarray]:
    """Return what a network is called with for one photo: "images" float32 [1, h, w, 3], and JPEG's coefficients.

    Args:
        photo: uint8 RGB [H, W, 3].
        file: as it was encoded; without it, the photo is taken for one that is no JPEG.
        how: of the network.

    Raises:
        ValueError: coefficients are wanted and cannot be read.
    """
    further: dict[str, np.ndarray] = {}
    if how.jpeg:
        file, photo = as_jpeg(file, photo)
        coefficients, steps = read_coefficients(file)
        further = {"coefficients": coefficients[None], "qtables": steps[None]}
    if how.side:
        photo = _resized(photo, how)
    photo = np.minimum(photo, how.largest)
    if how.resampling:
        further["resampling"] = resampling_features(photo)[None].astype(np.float32)
    pixels = (photo[..., ::-1] if how.channels == "BGR" else photo).astype(np.float32)
    missing = [-n % how.multiple for n in photo.shape[:2]]
    pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=how.shift)
    mean, std = (np.asarray(values, np.float32) for values in (how.mean, how.std))
    normalized = ((pixels - how.shift) / how.scale - mean) / std
    return {"images": normalized[None].astype(np.float32), **further}


def _resized(photo: np.ndarray, how: Preprocessing) -> np.ndarray:
    size = how.side, how.side
    if how.antialias:
        return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))
    return cv2.resize(photo, size, interpolation=cv2.INTER_LINEAR)


class ComparedLocalizer(Localizer):
    """A compared network as a function from a photo to a `Localization`, each size of photo compiled when it occurs.

    `map` is the network's probability at the size of its input, `score` the network's own, or the largest value of
    `map` where it has none.
    """

    def __init__(self, variables: dict[str, Any], card: ModelCard, precision: str = "float32", batch: int = 0):
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r}: it must be one of {', '.join(map(repr, PRECISIONS))}")
        if isinstance(card.model, ViTB16Config) and not card.model.decoder_channels:
            raise ValueError("vit_b_16: these weights have no decoder, and so know no manipulation; train one")
        self.card, self.precision, self.batch = card, precision, 1
        self.hash = model_hash(variables, card)
        self._how = preprocessing_of(card.model)
        self.reads_files = self._how.jpeg
        self._scaled = bool(self._how.side) or (isinstance(card.model, SPANConfig) and card.model.resize224)
        self._variables = jax.device_put(variables)
        model = create_model(card.model, Execution(dtype=jnp.dtype(precision)))
        apply: Any = model.apply
        self._by_tiles = TracesByTiles(model) if isinstance(model, ManTraNet | SPAN) else None

        @jax.jit
        def predict(variables: dict[str, Any], inputs: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
            output = apply(variables, **inputs)
            score = output.probability.max((1, 2)) if output.score is None else output.score
            return output.probability, jnp.asarray(score)

        self._forward = predict

    @property
    def shapes(self) -> Sequence[tuple[int, int]]:
        """Return the size of what goes through the network, if it is always the same."""
        return ((self._how.side, self._how.side),) if self._how.side else ()

    def shape_of(self, photo: np.ndarray) -> tuple[int, int]:
        """Return the size at which a photo goes through the network."""
        H, W = (n + -n % self._how.multiple for n in photo.shape[:2])
        return (self._how.side, self._how.side) if self._how.side else (H, W)

    def localize(
        self,
        photos: Sequence[np.ndarray],
        details: bool = False,
        orientations: Sequence[int] = (),
        progress: Callable[[int, int], None] | None = None,
        files: Sequence[bytes] = (),
    ) -> list[Localization]:
        """Localize manipulation in several uint8 RGB arrays [H, W, 3] of any sizes, one after the other.

        Arguments are those of `Localizer.localize`; `files` are the photos as they were encoded, for CAT-Net.
        """
        turns, found = orientations or [1] * len(photos), []
        for number, (photo, turn) in enumerate(zip(photos, turns, strict=True)):
            require_photo(photo)
            inputs = network_inputs(photo, files[number] if files else b"", self._how)
            if self._by_tiles and max(photo.shape) > TILE:
                map_ = self._by_tiles(self._variables, inputs["images"])[0]
                score = map_.max()
            else:
                map_, score = (np.asarray(array[0]) for array in self._forward(self._variables, inputs))
            found.append(_localization(photo, map_, float(score), turn, self._scaled))
            if progress:
                progress(number + 1, len(photos))
        return found


def takes_files(localizer: Localizer) -> bool:
    """Return whether a model reads the photos as they were encoded, and `localize` is to be given `files`."""
    return isinstance(localizer, ComparedLocalizer) and localizer.reads_files


def _localization(photo: np.ndarray, map_: np.ndarray, score: float, turn: int, resized: bool) -> Localization:
    """Bring a map to the photo's size: scale it if the photo was scaled, else cut off what continued the photo."""
    H, W, _ = photo.shape
    if not resized:
        map_ = map_[:H, :W]
    large = cv2.resize(map_, (W, H), interpolation=cv2.INTER_LINEAR) if map_.shape != (H, W) else map_
    finite = np.isfinite(map_).all()
    return Localization(
        turn_upright(photo, turn),
        turn_upright(np.clip(large, 0, 1), turn),
        turn_upright(map_, turn),
        score if finite else float("nan"),
    )
