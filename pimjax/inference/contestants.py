"""From what a command line names to who takes part: checkpoints, classical detectors, anyone's function."""

import contextlib
import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pimjax.baselines import CLASSICAL
from pimjax.data.sources import Example
from pimjax.evaluation.entrants import Entrant, Model, Prediction, checked_map, model_entrant
from pimjax.inference.localizer import Localizer
from pimjax.inference.test_time import flip_averaged, resized, tiled
from pimjax.weights.shipped import SHIPPED, weights_path


class UnknownModelError(ValueError):
    """What was named is no model; the message lists what is."""


def open_model(what: str, name: str = "", precision: str = "float32") -> Entrant:
    """Return the model that `what` names.

    Args:
        what: a checkpoint (whatever `Localizer.load` takes), a classical detector (of `pimjax.baselines.CLASSICAL`), or
            MODULE:FUNCTION, a function from uint8 RGB [H, W, 3] to a probability [h, w] that Python can import, from
            the current folder as well.
        name: for the tables; `what`'s last part if empty.
        precision: of a checkpoint's maps and products.

    Raises:
        UnknownModelError: it names nothing of these.
        ValueError, OSError: it cannot be loaded.
    """
    path = weights_path(what)
    if path.exists():
        return localizer_entrant(Localizer.load(path, precision), name or path.resolve().stem, {"precision": precision})
    if what in CLASSICAL:
        return model_entrant(name or what, CLASSICAL[what], {"model": what})
    if ":" in what:
        model = _import(what)
        file = inspect.getsourcefile(model) if inspect.isfunction(model) else None
        digest = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
        return model_entrant(name or what.partition(":")[2], model, {"model": what, "source_sha256": digest})
    known = ", ".join((SHIPPED, *CLASSICAL))
    raise UnknownModelError(f"model {what!r}: no such checkpoint; give one, MODULE:FUNCTION, or one of {known}")


def _import(what: str) -> Model:
    module, _, function = what.partition(":")
    here = os.getcwd()
    sys.path.insert(0, here)  # as `python -m` does; for this import alone
    try:
        model = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownModelError(
            f"model {what!r}: cannot be imported ({error}); is {module}.py in this folder, or on PYTHONPATH?"
        ) from None
    except Exception as error:  # whatever anyone's module does
        raise ValueError(f"model {what!r}: importing it failed ({type(error).__name__}: {error})") from None
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)
    if not callable(model):
        raise UnknownModelError(f"model {what!r}: it is no function, but {type(model).__name__}")
    return model


def localizer_entrant(localizer: Localizer, name: str, about: dict[str, Any]) -> Entrant:
    """Return a checkpoint as an entrant, with the hash of its weights."""

    def predict(example: Example) -> Prediction:
        result = localizer(example["image"])
        map_ = checked_map(np.clip(result.map, 0, 1), name)
        if side is None:
            # At native resolution the map's last pixels reach past the photo's edge, and must not be squeezed into it.
            return Prediction(map_, checked_map(result.probability, name))
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
