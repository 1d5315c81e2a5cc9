"""The datasets by name: preparing them and reading what was prepared."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import tensorflow_datasets as tfds

from pimjax.data.datasets import bsds500, camera_originals
from pimjax.data.datasets.builder import ManipulationDataset
from pimjax.data.datasets.casia import CasiaV1, CasiaV1Plus, CasiaV2
from pimjax.data.datasets.challenges import Ifc, Nist16
from pimjax.data.datasets.collected import Imd2020, InTheWild, Wildweb
from pimjax.data.datasets.defacto import Defacto
from pimjax.data.datasets.generated import Autosplice, Cocoglide, DiverseInpainting
from pimjax.data.datasets.records import count_records
from pimjax.data.datasets.report import summary
from pimjax.data.datasets.uncompressed import Columbia, Coverage, Dso1, Korus
from pimjax.files import ForeignFileError, cannot_write, claim
from pimjax.terminal import say

BUILDERS: dict[str, type[ManipulationDataset]] = {
    builder.name: builder
    for builder in (
        CasiaV1,
        CasiaV1Plus,
        CasiaV2,
        Columbia,
        Coverage,
        Nist16,
        Imd2020,
        Dso1,
        Korus,
        InTheWild,
        Ifc,
        Wildweb,
        Defacto,
        Autosplice,
        Cocoglide,
        DiverseInpainting,
    )
}


# Photographs without forgeries, prepared as files and a manifest: how the files must lie, and the function.
PHOTOGRAPHS: dict[str, tuple[str, Callable[[Path, Path], Path]]] = {
    "bsds500": (bsds500.LAYOUT, bsds500.prepare_bsds500),
    "camera-originals": (camera_originals.LAYOUT, camera_originals.prepare_camera_originals),
}


def instructions(name: str) -> str:
    """Return how the files of a dataset must lie; ValueError for an unknown name."""
    return PHOTOGRAPHS[name][0] if name in PHOTOGRAPHS else _builder(name, None).MANUAL_DOWNLOAD_INSTRUCTIONS


def prepare_photographs(name: str, folder: str | os.PathLike, to: str | os.PathLike | None = None) -> Path:
    """Prepare one of PHOTOGRAPHS from the files in `folder`, print its source's name, and return its manifest.

    Args:
        name: of the dataset.
        folder: where its files lie.
        to: the folder for the prepared files; None: "data" in the current one, as configs/pim_small.py has it.

    Raises:
        FileNotFoundError: the files are not placed as distributed.
        ValueError, OSError: one of them is damaged; or one cannot be written, or is in the way.
    """
    to = Path(to or "data").expanduser()
    try:
        claim(to / f"{name.replace('-', '_')}.csv")  # before the work
        manifest = PHOTOGRAPHS[name][1](Path(folder).expanduser(), to)
    except ForeignFileError as error:
        raise ForeignFileError(str(error).replace("another --output", "another --to")) from None
    say(f"to read it: csv:{manifest}")
    return manifest


def prepare(name: str, manual_dir: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> ManipulationDataset:
    """Prepare a dataset from the files that the user placed in `manual_dir`, and print what was found.

    Args:
        name: a key of BUILDERS, with a configuration where there are several: "korus" or "korus/grey".
        manual_dir: the folder with the files as distributed; the builder's docstring gives the layout.
        data_dir: where prepared datasets are kept; TFDS's own default is ~/tensorflow_datasets. A dataset that is there
            already is not prepared again.

    Returns:
        The builder; what was found and what was odd is in its `info.metadata`.

    Raises:
        FileNotFoundError: no such folder, or the files in it are not placed as distributed.
        ValueError: an unknown name, or no file can be used.
    """
    builder = _builder(name, data_dir)
    if builder.data_path.exists():
        _check_whole(name, builder)
        say(f"{name}: prepared before, in {builder.data_path}; remove that folder to prepare it anew")
    else:
        manual_dir = Path(manual_dir).expanduser()
        if not manual_dir.is_dir() or not any(manual_dir.iterdir()):
            state = "is empty" if manual_dir.is_dir() else "is no folder"
            error = FileNotFoundError(
                f"{manual_dir}: {state}. Nothing is downloaded: place the files of {name} there so:"
            )
            error.add_note(builder.MANUAL_DOWNLOAD_INSTRUCTIONS)
            raise error
        config = tfds.download.DownloadConfig(manual_dir=manual_dir)
        with _disk_errors(Path(builder.data_path)):
            builder.download_and_prepare(download_config=config)
        say(f"{name}: prepared in {builder.data_path}")
        if data_dir:
            say(f"to read it as tfds:{name}, set TFDS_DATA_DIR={data_dir}")
    try:
        found = summary(builder.info.metadata or {})
    except (ValueError, LookupError, TypeError, AttributeError):  # whatever is in a damaged file
        raise _damaged(name, Path(builder.data_path, "metadata.json"), "missing or damaged") from None
    say(*found.split("\n"))
    return builder


def load(name: str, split: str | None = None, data_dir: str | os.PathLike | None = None) -> Any:
    """Return the examples of a prepared dataset, by index, undecoded: "image" and "mask" are the bytes of image files.

    Texts come as bytes in UTF-8, "label" as 0 (authentic) or 1 (manipulated). What is returned can be pickled.

    Args:
        name: as for `prepare`.
        split: such as "test", or a part of it as TFDS writes it, "test[:100]"; None for the only split.
        data_dir: as for `prepare`.

    Raises:
        FileNotFoundError: the dataset is not prepared.
        ValueError: an unknown name or split, or no split given where there are several; or a file of the dataset is
            damaged or missing.
    """
    builder = _builder(name, data_dir)
    if not builder.data_path.exists():
        raise FileNotFoundError(
            f"{name}: not prepared in {builder.data_path}; run: pimjax prepare-data {name} --from DIR"
        )
    _check_whole(name, builder)
    splits = list(builder.info.splits)
    if split is None and len(splits) > 1:
        raise ValueError(f"{name}: has the splits {', '.join(splits)}; name one")
    split = split or splits[0]
    if split.partition("[")[0] not in splits:
        raise ValueError(f"{name}: no split {split!r}; it has {', '.join(splits)}")
    undecoded = {feature: tfds.decode.SkipDecoding() for feature in ("image", "mask")}
    return cast(Any, builder).as_data_source(split=split, decoders=undecoded)


def _builder(name: str, data_dir: str | os.PathLike | None) -> ManipulationDataset:
    dataset, _, config = name.partition("/")
    if dataset not in BUILDERS:
        raise ValueError(f"{name!r}: no such dataset; there are {', '.join((*BUILDERS, *PHOTOGRAPHS))}")
    configs = list(BUILDERS[dataset].builder_configs)
    if config and config not in configs:
        choices = ", ".join(f"{dataset}/{known}" for known in configs) or "none"
        raise ValueError(f"{name!r}: {dataset} has no configuration {config!r}; it has {choices}")
    data_dir = Path(data_dir).expanduser() if data_dir else None
    try:
        return BUILDERS[dataset](data_dir=data_dir, config=config or None, file_format="array_record")
    except Exception:  # of the many that TFDS raises when it cannot read what it wrote
        home: str = tfds.core.constants.DATA_DIR  # pyright: ignore[reportAttributeAccessIssue]  # loaded on access
        folder = Path(data_dir or home, dataset, config or "".join(configs[:1]))
        file = folder / str(BUILDERS[dataset].VERSION) / "dataset_info.json"
        if not file.exists():
            raise
        raise _damaged(name, file, "damaged") from None


def _check_whole(name: str, builder: ManipulationDataset) -> None:
    """Raise ValueError, naming the file, if one of a prepared dataset is missing or cut off."""
    if not builder.info.splits:
        raise _damaged(name, Path(builder.data_path, "dataset_info.json"), "missing")
    for split in builder.info.splits.values():
        files = list(map(Path, split.filepaths))
        for file, length in zip(files, split.shard_lengths, strict=True):
            if not file.is_file():
                raise _damaged(name, file, "missing")
            if (found := count_records(file)) != length:
                raise _damaged(name, file, f"{found:,} records can be read, {length:,} were written")
        size = sum(file.stat().st_size for file in files)
        if size != split.num_bytes:
            what = f"{size:,} bytes in this and {len(files) - 1} more files, {split.num_bytes:,} were written"
            raise _damaged(name, files[0], what)


def _damaged(name: str, file: Path, what: str) -> ValueError:
    again = f"delete {file.parent} and prepare it again: pimjax prepare-data {name} --from DIR"
    return ValueError(f"{file}: {what}; {again}")


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Add place and remedy to the errors that the disk raises inside the block."""
    try:
        yield
    except OSError as error:
        place = str(error.filename or folder)
        if error.errno is None or not place.startswith(str(folder.parents[1])):  # told before, or of the user's files
            raise
        raise cannot_write(place, error) from None
