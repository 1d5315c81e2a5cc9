"""The maps that a program wrote, as one who takes part: which file is whose, and how it lies."""

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pimjax.data.images import ImageError, turn_upright
from pimjax.data.map_frame import FRAMES, frame_of
from pimjax.data.sources import Example
from pimjax.evaluation.map_files import SUFFIXES, read_map
from pimjax.evaluation.predictors import Prediction, Predictor
from pimjax.files import read_rows

_WRITTEN = ("probability", "npy", "mask")  # by `pimjax predict`, the best first
_BACK = {6: 8, 8: 6}  # EXIF orientations that undo others; the rest undo themselves


def folder_predictor(
    name: str, folder: str | os.PathLike, ids: Sequence[str], invert: bool = False, frame: str | None = None
) -> Predictor:
    """Make a predictor of the maps in `folder`, PNG (8 or 16 bits), NPY or NPZ (one array).

    Maps are named as the images, with any suffix: `images/7.png` belongs to the image whose path ends in `images/7`;
    `7.png` or `7.jpg.png` to any image `7`. What `pimjax predict` wrote is found by its rows, or its names: of an
    image's `7_probability.png`, `7.npy` and `7_mask.png` the first that is there. White, or 1, means manipulated.
    An image without a map is an ImageError when asked for, and so is a map that may lie otherwise than its image.

    Args:
        name: for the tables.
        folder: searched with all folders in it.
        ids: of the examples that will be asked for (`pimjax.data.sources.Source.ids`), to see at once whether two would
            share a map.
        invert: whether 1 means authentic.
        frame: how maps lie that do not say so themselves, of `pimjax.data.map_frame.FRAMES`; None: unknown.

    Raises:
        FileNotFoundError: no map is there.
        ImageError: two images would share a map, or two maps an image.
        ValueError: no such frame, or a damaged file of rows.
    """
    if frame not in (None, *FRAMES):
        raise ValueError(f"maps' frame {frame!r}: it must be one of {', '.join(FRAMES)}")
    folder = Path(folder)
    maps = _find_maps(folder)
    owner: dict[Path, str] = {}

    def claim(id_: str) -> Path | None:
        if (file := maps.of(id_)) is not None and owner.setdefault(file, id_) != id_:
            raise ImageError(
                f"{file}: it could be the map of {owner[file]} and of {id_}; put the maps in folders like the images'"
            )
        return file

    for id_ in ids:
        claim(id_)

    def predict(example: Example) -> Prediction:
        id_ = resolved(str(example["id"]))
        if (file := claim(id_)) is None:
            raise ImageError(f"{id_}: no map of it in {folder}; add {Path(id_).stem}.png, or score without it")
        mask = str(example.get("mask_id", ""))
        if file.stem.endswith("_mask") and os.path.exists(mask) and os.path.samefile(file, mask):
            raise ImageError(f"{file}: it is the truth about {id_} itself; give the folder of the maps alone")
        map_ = as_stored(read_map(file), file, int(example.get("orientation", 1)), frame)
        return Prediction(1 - map_ if invert else map_)

    def version(id_: str) -> str:
        file = claim(resolved(id_))
        return f"{file.stat().st_size}-{file.stat().st_mtime_ns}" if file else ""

    about = {"predictions": str(folder.resolve()), "inverted": invert} | ({"maps_frame": frame} if frame else {})
    return Predictor(name, predict, about, version)


def as_stored(map_: np.ndarray, file: Path, orientation: int, frame: str | None = None) -> np.ndarray:
    """Return a map, [h, w], as it lies on the pixels of its photo as stored.

    Args:
        map_: out of `file`.
        file: which may say how it lies.
        orientation: EXIF, of the photo.
        frame: how it lies if the file does not say so.

    Raises:
        ImageError: nobody says so, and the photo is stored turned; or the map is of a photo turned otherwise.
    """
    orientation = orientation if 1 <= orientation <= 8 else 1  # as `turn_upright` takes others
    said = frame_of(file)
    if said and said.frame == "upright" and said.orientation != orientation:
        raise ImageError(
            f"{file}: made of a photo of EXIF orientation {said.orientation}, the one to compare has {orientation}; "
            "predict it again"
        )
    if (lies := said.frame if said else frame) is None and orientation != 1:
        raise ImageError(
            f"{file}: its photo is stored turned (EXIF orientation {orientation}), whether the map is, nobody says; "
            "state --maps-frame stored, or upright"
        )
    return turn_upright(map_, _BACK.get(orientation, orientation)) if lies == "upright" else map_


def resolved(id_: str) -> str:
    """Return an example's id as `Source.ids` has it: a file's path made absolute."""
    return str(Path(id_).resolve()) if os.path.exists(id_) else id_


class _Maps(NamedTuple):
    by_path: dict[str, Path]  # of the photo, resolved: what rows say
    by_name: dict[str, Path]  # relative to the folder, without the map's suffix

    def of(self, id_: str) -> Path | None:
        if id_ in self.by_path:
            return self.by_path[id_]
        parts = id_.replace(", ", "/").split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            for key in (tail, tail.rpartition(".")[0]):
                if key in self.by_name:
                    return self.by_name[key]
        return None


def _find_maps(folder: Path) -> _Maps:
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    )
    if not files:
        raise FileNotFoundError(f"{folder}: holds no maps ({', '.join(SUFFIXES)}); give another folder")
    there, of_photo, recorded = set(files), {}, set()
    for row in _rows(folder):
        written = {kind: folder / file for kind, file in _files(row).items() if folder / file in there}
        recorded |= set(written.values())
        best = next((written[kind] for kind in _WRITTEN if kind in written), None)
        if best and (photo := _photo(row)):
            of_photo[photo] = best
    # By the photo's name alone only where no other photo has it, or a photo that was moved could meet another's map.
    keys = {photo: {photo[1], os.path.splitext(photo[1])[0]} for photo in of_photo}
    once = Counter(key for both in keys.values() for key in both)
    by_name = {key: file for photo, file in of_photo.items() for key in keys[photo] if once[key] == 1}
    by_path = {path: file for (path, _), file in of_photo.items()}
    return _Maps(by_path, _by_name(folder, [file for file in files if file not in recorded]) | by_name)


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of `pimjax predict`; none of a file of that name that is something else."""
    rows = []
    for file in sorted(folder.glob("predictions*.jsonl")):
        with contextlib.suppress(ValueError, OSError):
            rows += read_rows(file, "path")[0].values() if file.is_file() else ()
    return rows


def _files(row: dict[str, Any]) -> dict[str, str]:
    """Return what a row of `pimjax predict`'s says that it wrote; rows are input, and may say anything."""
    files = row.get("files")
    return {k: v for k, v in files.items() if isinstance(v, str)} if isinstance(files, dict) else {}


def _photo(row: dict[str, Any]) -> tuple[str, str] | None:
    """Return the path of a row's photo, and its name in the folder or pattern that it was found by."""
    path, name = row.get("path"), row.get("name")
    if not isinstance(path, str) or not isinstance(name, str):
        return None
    folder, slash, _ = name.rpartition("/")
    return os.path.realpath(path), folder + slash + os.path.basename(path)


def _by_name(folder: Path, files: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, dict[str, Path]] = {kind: {} for kind in ("mask", "other", "probability")}
    for path in files:
        name = path.relative_to(folder).with_suffix("").as_posix()
        for kind in ("mask", "probability"):
            if path.suffix.lower() == ".png" and name.endswith(f"_{kind}"):
                found[kind][name.removesuffix(f"_{kind}")] = path
        other = found["other"].setdefault(name, path)
        if other != path:
            raise ImageError(f"{path}: {other.name} is of the same image; remove one of the two")
    return found["mask"] | found["other"] | found["probability"]
