"""The sets by name: preparing them and reading what was prepared."""

import os
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from pimjax.data.datasets.builder import ManipulationDataset
from pimjax.data.datasets.casia import CasiaV1, CasiaV1Plus, CasiaV2
from pimjax.data.datasets.challenges import Ifc, Nist16
from pimjax.data.datasets.collected import Imd2020, InTheWild, Wildweb
from pimjax.data.datasets.defacto import Defacto
from pimjax.data.datasets.generated import Autosplice, Cocoglide, DiverseInpainting
from pimjax.data.datasets.report import summary
from pimjax.data.datasets.uncompressed import Columbia, Coverage, Dso1, Korus
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


def prepare(name: str, manual_dir: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> ManipulationDataset:
    """Prepares a set from the files that the user placed in `manual_dir`, and prints what was found.

    Args:
        name: a key of BUILDERS, with a configuration where there are several: "korus" or "korus/grey".
        manual_dir: the folder with the files as distributed; the builder's docstring gives the layout.
        data_dir: where prepared sets are kept; TFDS's own default is ~/tensorflow_datasets. A set that is there
            already is not prepared again.

    Returns:
        The builder; what was found and what was odd is in its `info.metadata`.

    Raises:
        FileNotFoundError: no such folder, or the files in it are not placed as distributed.
        ValueError: an unknown name, or no file can be used.
    """
    builder = _builder(name, data_dir)
    if builder.data_path.exists():
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
        builder.download_and_prepare(download_config=config)
        say(f"{name}: prepared in {builder.data_path}")
        if data_dir:
            say(f"to read it as tfds:{name}, set TFDS_DATA_DIR={data_dir}")
    say(*summary(builder.info.metadata).split("\n"))
    return builder


def load(name: str, split: str | None = None, data_dir: str | os.PathLike | None = None) -> Sequence[dict]:
    """The examples of a prepared set, by index, undecoded: "image" and "mask" are the bytes of image files.

    Texts come as bytes in UTF-8, "label" as 0 (authentic) or 1 (manipulated). What is returned can be pickled.

    Args:
        name: as for `prepare`.
        split: such as "test", or a part of it as TFDS writes it, "test[:100]"; None for the only split.
        data_dir: as for `prepare`.

    Raises:
        FileNotFoundError: the set is not prepared.
        ValueError: an unknown name or split, or no split given where there are several.
    """
    builder = _builder(name, data_dir)
    if not builder.data_path.exists():
        raise FileNotFoundError(
            f"{name}: not prepared in {builder.data_path}; run: pimjax prepare-data {name} --from DIR"
        )
    splits = list(builder.info.splits)
    if split is None and len(splits) > 1:
        raise ValueError(f"{name}: has the splits {', '.join(splits)}; name one")
    split = split or splits[0]
    if split.partition("[")[0] not in splits:
        raise ValueError(f"{name}: no split {split!r}; it has {', '.join(splits)}")
    undecoded = {feature: tfds.decode.SkipDecoding() for feature in ("image", "mask")}
    return builder.as_data_source(split=split, decoders=undecoded)


def _builder(name: str, data_dir: str | os.PathLike | None) -> ManipulationDataset:
    dataset, _, config = name.partition("/")
    if dataset not in BUILDERS:
        raise ValueError(f"{name!r}: no such dataset; there are {', '.join(BUILDERS)}")
    configs = list(BUILDERS[dataset].builder_configs)
    if config and config not in configs:
        choices = ", ".join(f"{dataset}/{known}" for known in configs) or "none"
        raise ValueError(f"{name!r}: {dataset} has no configuration {config!r}; it has {choices}")
    data_dir = Path(data_dir).expanduser() if data_dir else None
    return BUILDERS[dataset](data_dir=data_dir, config=config or None, file_format="array_record")
