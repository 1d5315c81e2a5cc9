"""What a configuration may name as a source: folders, manifests, prepared datasets, photographs that
packages install.
"""

import importlib.util
import os
from pathlib import Path

from pimjax.data.headers import SUFFIXES
from pimjax.data.manifests import csv_source, json_source
from pimjax.data.sources import FileSource, Record, Source, TfdsSource
from pimjax.data.walk import Walk, describe, walk


def folder_source(folder: str | os.PathLike) -> FileSource:
    """Return all photographs below `folder`, in the order of their paths, as authentic examples.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no photograph is in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a folder of photographs")
    found = walk(folder)
    passed_over = describe(found.passed_over)
    if not found.files:
        besides = f" ({passed_over})" if passed_over else ""
        raise ValueError(
            f"{folder}: holds no photographs ({', '.join(sorted(SUFFIXES))}){besides}; give another folder"
        )
    return FileSource([Record(path) for path in found.files], str(folder), passed_over)


def pairs_source(folder: str | os.PathLike) -> FileSource:
    """Return the pairs below `folder`: manipulated images in `Tp`, masks in `Gt`, and (if there) authentic images in
    `Au`.

    A mask belongs to the image whose name it bears, with nothing or `_gt`, `_mask`, `_edgemask` behind.

    Raises:
        FileNotFoundError: no such folder, or no `Tp` and `Gt` in it.
        ValueError: an image without a mask.
    """
    folder = Path(folder)
    if not (folder / "Tp").is_dir() or not (folder / "Gt").is_dir():
        raise FileNotFoundError(f"{folder}: no folders Tp and Gt in it; put manipulated images and their masks there")
    tampered, truth = walk(folder / "Tp"), walk(folder / "Gt")
    authentic = walk(folder / "Au") if (folder / "Au").is_dir() else Walk([], {})
    masks = {path.relative_to(folder / "Gt").with_suffix(""): path for path in truth.files}
    records = []
    for image in tampered.files:
        stem = image.relative_to(folder / "Tp").with_suffix("")
        names = [stem.with_name(stem.name + end) for end in ("", "_gt", "_mask", "_edgemask")]
        found = [masks[name] for name in names if name in masks]
        if not found:
            raise ValueError(f"{image}: no mask {stem} or {stem}_gt in {folder / 'Gt'}; add it or remove the image")
        records.append(Record(image, found[0]))
    records += [Record(image) for image in authentic.files]
    passed_over = describe(tampered.passed_over | truth.passed_over | authentic.passed_over)
    if not records:
        besides = f" ({passed_over})" if passed_over else ""
        raise ValueError(f"{folder}: holds no images in Tp, nor in Au{besides}; give another folder")
    return FileSource(records, str(folder), passed_over)


# The color photographs of scikit-image, scikit-learn and matplotlib, as (package, file). Validation never trains.
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


def installed_source(split: str) -> Source:
    """Return photographs that three Python packages install beside their code: "train" (6) or "validation" (2).

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
                "pip install 'pimjax[demo]'"
            )
        records.append(Record(path))
    return FileSource(records, f"installed:{split}").cache_decoded()


def tfds_source(name: str) -> TfdsSource:
    """Return a prepared dataset, "NAME" or "NAME:SPLIT"; the split may be left out where there is only one.

    Raises:
        ValueError, FileNotFoundError: no such set or split, or it is not prepared.
    """
    from pimjax.data.datasets.catalog import load  # TFDS takes two seconds to import

    dataset, _, split = name.partition(":")
    if "[" in split:  # of which two could overlap unseen
        raise ValueError(f"tfds:{name}: name a whole split")
    records = load(dataset, split or None)
    return TfdsSource(records, f"tfds:{dataset}:{records.split}")


LOADERS = {
    "folder": folder_source,
    "pairs": pairs_source,
    "csv": csv_source,
    "json": json_source,
    "tfds": tfds_source,
    "installed": installed_source,
}


def load_source(name: str) -> Source:
    """Return the source of a name such as "csv:FILE"; see `pimjax.config.DataConfig` for all of them.

    Raises:
        ValueError, FileNotFoundError: the name or what it points to cannot be used.
    """
    kind, _, where = name.partition(":")
    if kind not in LOADERS or not where:
        raise ValueError(
            f"data source {name!r}: use folder:DIR, pairs:DIR, csv:FILE, json:FILE, tfds:NAME, "
            "installed:train or installed:validation"
        )
    return LOADERS[kind](where)
