"""From what a command line names to who takes part: checkpoints, classical detectors, anyone's function."""

import hashlib
import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.baselines import CLASSICAL
from pimjax.data.sources import Example
from pimjax.evaluation.entrants import Entrant, Model, Prediction, model_entrant
from pimjax.inference.localizer import Localizer
from pimjax.inference.test_time import flip_averaged, resized, tiled
from pimjax.weights.shipped import weights_path


def open_model(what: str, name: str = "", precision: str = "float32") -> Entrant:
    """The model that `what` names.

    Args:
        what: a checkpoint (whatever `Localizer.load` takes), a classical detector (of `pimjax.baselines.CLASSICAL`), or
            MODULE:FUNCTION, a function from uint8 RGB [H, W, 3] to a probability [h, w] that Python can import.
        name: for the tables; `what`'s last part if empty.
        precision: of a checkpoint's maps and products.

    Raises:
        ValueError: it names nothing of these, or cannot be loaded.
    """
    path = weights_path(what)
    if path.exists():
        return localizer_entrant(Localizer.load(path, precision), name or path.resolve().stem, {"precision": precision})
    if what in CLASSICAL:
        return model_entrant(name or what, CLASSICAL[what], {"model": what})
    module, colon, function = what.partition(":")
    if colon:
        try:
            model = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"model {what!r}: cannot be imported ({error}); is it on PYTHONPATH?") from None
        file = inspect.getsourcefile(model) if inspect.isfunction(model) else None
        digest = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
        return model_entrant(name or function, model, {"model": what, "source_sha256": digest})
    raise ValueError(f"model {what!r}: no such checkpoint; give one, MODULE:FUNCTION, or one of {', '.join(CLASSICAL)}")


def localizer_entrant(localizer: Localizer, name: str, about: dict[str, Any]) -> Entrant:
    """A checkpoint, with the hash of its weights."""

    def predict(example: Example) -> Prediction:
        result = localizer(example["image"])
        map_ = np.clip(result.map, 0, 1)
        if side is None:
            # At native resolution the map's last pixels reach past the photo's edge, and must not be squeezed into it.
            return Prediction(map_, result.probability)
        return Prediction(map_)

    preprocessing = localizer.card.preprocessing
    side = None if preprocessing["fit"] == "crop" else preprocessing["image_size"]
    about = {"sha256": localizer.hash, "model": localizer.card.model.architecture, **about}
    return Entrant(name, predict, about, input_side=side)


def with_options(
    entrant: Entrant, flip: bool = False, tiles: int | None = None, sides: Sequence[int] = ()
) -> list[Entrant]:
    """The entrant as it is and, beside it for comparison, asked in the ways of `pimjax.inference.test_time`."""

    def model(image: np.ndarray) -> np.ndarray:
        prediction = entrant.predict({"image": image})
        return prediction.map if prediction.full is None else prediction.full

    ways: dict[str, Model] = {"flip": flip_averaged(model)} if flip else {}
    ways |= {f"tiles-{tiles}": tiled(model, tiles)} if tiles else {}
    ways |= {f"side-{side}": resized(model, side) for side in sides}
    # All rows of a model are scored at one size, or they could not be compared.
    others = [
        model_entrant(f"{entrant.name}+{way}", function, {**entrant.about, "test_time": way}, entrant.input_side)
        for way, function in ways.items()
    ]
    return [entrant, *others]
