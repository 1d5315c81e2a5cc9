"""Whoever takes part in a benchmark: a model, or the maps that another program wrote."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pimjax.data.images import ImageError, decode_values, read_bytes
from pimjax.data.sources import Example

SUFFIXES = (".png", ".npy", ".npz")

Model = Callable[[np.ndarray], np.ndarray]  # uint8 RGB [H, W, 3] → probability of manipulation, real [h, w] in 0..1


class Prediction(NamedTuple):
    """A map at the size at which the model makes it and, where stretching it would misplace it, at the image's."""

    map: np.ndarray  # float32 [h, w] in 0..1
    full: np.ndarray | None = None  # float32 [H, W]; None: `map`, enlarged bilinearly


class Entrant(NamedTuple):
    """A name for the tables, a function of an example, and what makes its numbers its own, for resuming and reports."""

    name: str
    predict: Callable[[Example], Prediction]
    about: dict[str, Any]
    version: Callable[[str], str] = lambda id_: ""  # of what an example's map comes from, by the example's id
    input_side: int | None = None  # of the square that the network makes of every image, in pixels


def model_entrant(
    name: str, model: Model, about: dict[str, Any] | None = None, input_side: int | None = None
) -> Entrant:
    """Any function from an image to a map of probabilities, of whatever size in the image's proportions."""

    def predict(example: Example) -> Prediction:
        return Prediction(checked_map(model(example["image"]), name))

    return Entrant(name, predict, about or {}, input_side=input_side)


def folder_entrant(name: str, folder: str | os.PathLike, ids: Sequence[str], invert: bool = False) -> Entrant:
    """The maps in `folder`, PNG (8 or 16 bits), NPY or NPZ (one array), named as the images, with any suffix.

    A map `images/7.png` belongs to the image whose path ends in `images/7`; `7.png` or `7.jpg.png` to any image `7`.
    White, or 1, means manipulated; `invert` turns that round. What an image has no map for is an ImageError when asked.

    Args:
        name: for the tables.
        folder: searched with all folders in it.
        ids: of the examples that will be asked for (`pimjax.data.sources.Source.ids`), to see at once whether two would
            share a map.
        invert: whether 1 means authentic.

    Raises:
        FileNotFoundError: no map is there.
        ImageError: two images would share a map, or two maps an image.
    """
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{folder}: holds no maps ({', '.join(SUFFIXES)}); give another folder")
    by_name: dict[str, Path] = {}
    for path in files:
        other = by_name.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
        if other != path:
            raise ImageError(f"{path}: {other.name} is of the same image; remove one of the two")
    owner: dict[str, str] = {}

    def claim(id_: str) -> Path | None:
        key = _longest_match(id_, by_name)
        if key is None:
            return None
        if owner.setdefault(key, id_) != id_:
            raise ImageError(
                f"{by_name[key]}: it could be the map of {owner[key]} and of {id_}; put the maps in folders like the "
                "images'"
            )
        return by_name[key]

    for id_ in ids:
        claim(id_)

    def predict(example: Example) -> Prediction:
        id_ = resolved(str(example["id"]))
        if (file := claim(id_)) is None:
            raise ImageError(f"{id_}: no map of it in {folder}; add {Path(id_).stem}.png, or score without it")
        map_ = read_map(file)
        return Prediction(1 - map_ if invert else map_)

    def version(id_: str) -> str:
        file = claim(resolved(id_))
        return f"{file.stat().st_size}-{file.stat().st_mtime_ns}" if file else ""

    return Entrant(name, predict, {"predictions": str(folder.resolve()), "inverted": invert}, version)


def resolved(id_: str) -> str:
    """An example's id as `Source.ids` has it: a file's path made absolute."""
    return str(Path(id_).resolve()) if os.path.exists(id_) else id_


def _longest_match(id_: str, names: dict[str, Path]) -> str | None:
    parts = id_.replace(", ", "/").split("/")
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        for key in (tail, tail.rpartition(".")[0]):
            if key in names:
                return key
    return None


def read_map(path: Path) -> np.ndarray:
    """A map of probabilities out of a file: float32 [h, w] in 0..1.

    8 or 16 bits are divided by 255 or 65,535; floats must be probabilities already.

    Raises:
        ImageError: it cannot be read, or is not such a map.
    """
    try:
        if path.suffix.lower() == ".png":
            values = decode_values(read_bytes(path), str(path))
            if values.ndim == 3 and (values == values[..., :1]).all():
                values = values[..., 0]
        else:
            values = np.load(path, allow_pickle=False)
            if isinstance(values, np.lib.npyio.NpzFile):
                with values:
                    if len(values.files) != 1:
                        raise ValueError(f"holds the arrays {', '.join(values.files)}; save one")
                    values = values[values.files[0]]
    except ImageError:
        raise
    except Exception as error:  # whatever a damaged file does to a parser
        raise ImageError(f"{path}: no map can be read from it ({error}); write it anew") from None
    if values.dtype in (np.uint8, np.uint16):
        if values.max() == 1:
            raise ImageError(
                f"{path}: its largest value is 1 of {np.iinfo(values.dtype).max}; write 0 and 255, or floats"
            )
        values = values / np.float32(np.iinfo(values.dtype).max)
    return checked_map(values, str(path))


def checked_map(values: Any, name: str) -> np.ndarray:
    """`values` as float32 [h, w]; ImageError, naming `name`, if they are no map of probabilities."""
    values = np.asarray(values)
    squeezed = values
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        squeezed = values[..., 0] if values.shape[2] == 1 else values[0]
    if squeezed.ndim != 2 or not squeezed.size or values.dtype.kind not in "fb":
        raise ImageError(
            f"{name}: gives {values.dtype} {list(values.shape)}; a map is [h, w], of floats in 0..1, or 8 or 16 bits"
        )
    low, high = float(squeezed.min()), float(squeezed.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # false for NaN, too
        raise ImageError(f"{name}: gives values from {low:.4g} to {high:.4g}; a map is of probabilities, 0..1")
    return np.clip(squeezed.astype(np.float32), 0, 1)
