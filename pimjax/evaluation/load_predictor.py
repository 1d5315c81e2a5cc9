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
from pimjax.config.networks import COMPARED
from pimjax.data.sources import Example
from pimjax.evaluation.predictors import Model, Prediction, Predictor, checked_map, model_predictor
from pimjax.inference.compared import takes_files
from pimjax.inference.localizer import Localizer
from pimjax.inference.tta import flip_averaged, resized, tiled
from pimjax.weights.bundled import BUNDLED, weights_path


class UnknownModelError(ValueError):
    """What was named is no model; the message lists what is."""


def open_model(what: str, name: str = "", precision: str = "float32") -> Predictor:
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
        return localizer_predictor(
            Localizer.load(path, precision), name or path.resolve().stem, {"precision": precision}
        )
    if what in CLASSICAL:
        return model_predictor(name or what, CLASSICAL[what], {"model": what})
    if ":" in what:
        model = _import(what)
        file = inspect.getsourcefile(model) if inspect.isfunction(model) else None
        digest = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
        return model_predictor(name or what.partition(":")[2], model, {"model": what, "source_sha256": digest})
    known = ", ".join((BUNDLED, *CLASSICAL))
    raise UnknownModelError(f"model {what!r}: no such checkpoint; give one, MODULE:FUNCTION, or one of {known}")


def _import(what: str) -> Any:
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


def localizer_predictor(localizer: Localizer, name: str, about: dict[str, Any]) -> Predictor:
    """Return a checkpoint as a predictor, with the hash of its weights."""

    def predict(example: Example) -> Prediction:
        if takes_files(localizer):
            further: dict[str, Any] = {"files": [example.get("file", b"")]}
            result = localizer.localize([example["image"]], **further)[0]
        else:
            result = localizer(example["image"])
        map_ = checked_map(np.clip(result.map, 0, 1), name)
        if side is None:
            # At native resolution the map's last pixels reach past the photo's edge, and must not be squeezed into it.
            return Prediction(map_, checked_map(result.probability, name))
        return Prediction(map_)

    preprocessing = localizer.card.preprocessing
    if localizer.card.model.architecture in COMPARED:
        side = preprocessing["side"] or None
    else:
        side = None if preprocessing["resize_mode"] == "crop" else preprocessing["image_size"]
    about = {"sha256": localizer.hash, "model": localizer.card.model.architecture, **about}
    return Predictor(name, predict, about, input_side=side, localizer=localizer)


def with_options(
    predictor: Predictor, flip: bool = False, tiles: int | None = None, sides: Sequence[int] = ()
) -> list[Predictor]:
    """Return the predictor as it is and, beside it for comparison, asked in the ways of `pimjax.inference.tta`."""

    def model(image: np.ndarray) -> np.ndarray:
        prediction = predictor.predict({"image": image})
        return prediction.map if prediction.full is None else prediction.full

    ways: dict[str, Model] = {"flip": flip_averaged(model)} if flip else {}
    ways |= {f"tiles-{tiles}": tiled(model, tiles)} if tiles else {}
    ways |= {f"side-{side}": resized(model, side) for side in sides}
    # All rows of a model are scored at one size, or they could not be compared.
    others = [
        model_predictor(
            f"{predictor.name}+{way}", function, {**predictor.about, "test_time": way}, predictor.input_side
        )
        for way, function in ways.items()
    ]
    return [predictor, *others]
