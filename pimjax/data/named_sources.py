"""What a configuration may name as a source: folders, manifests, prepared sets, photographs that packages install."""

import csv
import importlib.util
import json
import os
from pathlib import Path

from pimjax.data.headers import SUFFIXES
from pimjax.data.sources import FileSource, Record, Source, TfdsSource


def folder_source(folder: str | os.PathLike) -> FileSource:
    """All photographs below `folder`, in the order of their paths, as authentic examples.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no photograph is in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a folder of photographs")
    paths = _pictures(folder)
    if not paths:
        raise ValueError(f"{folder}: holds no photographs ({', '.join(sorted(SUFFIXES))}); give another folder")
    return FileSource([Record(path) for path in paths], str(folder))


_FILES = ("image", "mask", "segments")
_HEADERLESS = {  # by number of columns
    1: ("image",),
    2: ("image", "mask"),
    3: ("image", "mask", "label"),
    4: ("image", "mask", "boundary", "label"),
}


def csv_source(manifest: str | os.PathLike) -> FileSource:
    """The images and masks of a CSV manifest; paths are relative to the manifest's folder.

    With a header, the columns "image", "mask", "segments" (a label map) and "label" are read, those that are there;
    others are ignored. Without one, the first two columns are image and mask and the last of three or four the label:
    both `image,mask,label` and `image,mask,boundary,label` are read so. An empty mask or "None" marks an authentic
    image. Boundaries are derived from masks, not read.

    Raises:
        FileNotFoundError: no such manifest.
        ValueError: the manifest is empty, is not text, or has a row without an image, or labelled 1
            without a mask.
    """
    manifest = Path(manifest)
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest}: no such manifest; give a CSV file with the columns image,mask")
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = [(reader.line_num, row) for reader in [csv.reader(file)] for row in reader if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{manifest}: not a CSV file in UTF-8 ({error}); save it as one") from None
    columns = _HEADERLESS[min(len(rows[0][1]), 4)] if rows else ()
    if rows and "image" in (header := [cell.strip().lower() for cell in rows[0][1]]):
        rows, columns = rows[1:], header
    if not rows:
        raise ValueError(f"{manifest}: lists no images; write one row image,mask per image")
    records = [_record(manifest, line, dict(zip(columns, row, strict=False))) for line, row in rows]
    return FileSource(records, str(manifest))


def _record(manifest: Path, line: int, row: dict[str, str]) -> Record:
    cells = {column: "" if value.strip() == "None" else value.strip() for column, value in row.items()}
    image, mask, segments = (manifest.parent / name if (name := cells.get(key)) else None for key in _FILES)
    if image is None:
        raise ValueError(f"{manifest}, line {line}: no image; complete or delete the row")
    if cells.get("label") == "1" and mask is None:
        raise ValueError(f"{manifest}, line {line}: label 1 (manipulated), yet no mask; complete or delete the row")
    return Record(image, mask, segments)


def json_source(manifest: str | os.PathLike) -> FileSource:
    """The pairs of a JSON list `[[image, mask], [image, "Negative"], …]`; paths are relative to the list's folder.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not such a list.
    """
    manifest = Path(manifest)
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest}: no such file; give a JSON list of pairs [image, mask]")
    try:
        pairs = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON and of Unicode
        raise ValueError(f"{manifest}: not JSON ({error})") from None
    valid = isinstance(pairs, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) and name for name in pair)
        for pair in pairs
    )
    if not valid or not pairs:
        raise ValueError(f'{manifest}: write a list of pairs, [["a.jpg", "a.png"], ["b.jpg", "Negative"]]')
    folder = manifest.parent
    records = [Record(folder / image, None if mask == "Negative" else folder / mask) for image, mask in pairs]
    return FileSource(records, str(manifest))


def pairs_source(folder: str | os.PathLike) -> FileSource:
    """The pairs below `folder`: manipulated images in `Tp`, masks in `Gt`, and (if there) authentic images in `Au`.

    A mask belongs to the image whose name it bears, with nothing or `_gt`, `_mask`, `_edgemask` behind.

    Raises:
        FileNotFoundError: no such folder, or no `Tp` and `Gt` in it.
        ValueError: an image without a mask.
    """
    folder = Path(folder)
    if not (folder / "Tp").is_dir() or not (folder / "Gt").is_dir():
        raise FileNotFoundError(f"{folder}: no folders Tp and Gt in it; put manipulated images and their masks there")
    masks = {path.relative_to(folder / "Gt").with_suffix(""): path for path in _pictures(folder / "Gt")}
    records = []
    for image in _pictures(folder / "Tp"):
        stem = image.relative_to(folder / "Tp").with_suffix("")
        names = [stem.with_name(stem.name + end) for end in ("", "_gt", "_mask", "_edgemask")]
        found = [masks[name] for name in names if name in masks]
        if not found:
            raise ValueError(f"{image}: no mask {stem} or {stem}_gt in {folder / 'Gt'}; add it or remove the image")
        records.append(Record(image, found[0]))
    records += [Record(image) for image in _pictures(folder / "Au")]
    if not records:
        raise ValueError(f"{folder}: holds no images in Tp, nor in Au; give another folder")
    return FileSource(records, str(folder))


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


# The colour photographs of scikit-image, scikit-learn and matplotlib, as (package, file). Validation never trains.
INSTALLED = {
    "train": (
        ("skimage", "data/astronaut.png"),
        ("skimage", "data/coffee.png"),
        ("skimage", "data/rocket.jpg"),
        ("skimage", "data/motorcycle_left.png"),
        ("sklearn", "datasets/images/flower.jpg"),
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ),
    "validation": (
        ("skimage", "data/chelsea.png"),
        ("sklearn", "datasets/images/china.jpg"),
    ),
}


def installed_source(split: str) -> FileSource:
    """Photographs that three Python packages install beside their code: "train" (6) or "validation" (2).

    Raises:
        ValueError: another split.
        FileNotFoundError: a package is not installed.
    """
    if split not in INSTALLED:
        raise ValueError(f"installed:{split}: no such split; use installed:train or installed:validation")
    records = []
    for package, file in INSTALLED[split]:
        spec = importlib.util.find_spec(package)
        path = Path(spec.origin).parent / file if spec and spec.origin else None
        if path is None or not path.is_file():
            raise FileNotFoundError(
                f"installed:{split}: the photograph {file} of {package} is missing; install it with "
                "pip install -e '.[demo]'"
            )
        records.append(Record(path))
    return FileSource(records, f"installed:{split}").keep_decoded()


def tfds_source(name: str) -> TfdsSource:
    """A prepared set, "NAME" or "NAME:SPLIT"; the split may be left out where there is only one.

    Raises:
        ValueError, FileNotFoundError: no such set or split, or it is not prepared.
    """
    from pimjax.data.datasets.catalogue import load  # TFDS takes two seconds to import

    dataset, _, split = name.partition(":")
    if "[" in split:  # of which two could overlap unseen
        raise ValueError(f"tfds:{name}: name a whole split")
    records = load(dataset, split or None)
    return TfdsSource(records, f"tfds:{dataset}:{records.split}")


OPENERS = {
    "folder": folder_source,
    "pairs": pairs_source,
    "csv": csv_source,
    "json": json_source,
    "tfds": tfds_source,
    "installed": installed_source,
}


def open_source(name: str) -> Source:
    """The source of a name such as "csv:FILE"; see `pimjax.config.DataConfig` for all of them.

    Raises:
        ValueError, FileNotFoundError: the name or what it points to cannot be used.
    """
    kind, _, where = name.partition(":")
    if kind not in OPENERS or not where:
        raise ValueError(
            f"data source {name!r}: use folder:DIR, pairs:DIR, csv:FILE, json:FILE, tfds:NAME, "
            "installed:train or installed:validation"
        )
    return OPENERS[kind](where)
