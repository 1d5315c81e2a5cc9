"""What the builders have in common: from the entries that a dataset's layout gives to prepared records."""

import abc
import hashlib
import inspect
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, cast

import cv2
import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from pimjax.data.datasets import report
from pimjax.data.datasets.layout import Entry, Placed
from pimjax.data.datasets.mask_alignment import orient_mask
from pimjax.data.datasets.polarity import eight_bits, in_words, minority
from pimjax.data.datasets.records import write_records
from pimjax.data.images import ImageError, decode_image, decode_values, read_bytes

Splits = Mapping[str, list[Entry]]


class ManipulationDataset(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A dataset of photographs with masks of what was manipulated in them, read from files that the user placed.

    Examples, in the order of their ids:
        image: the file, as it is.
        mask: a PNG of the image's size, 255 = manipulated, 0 = not; all 0 for an authentic image.
        label: "authentic" or "manipulated".
        id: the image's path within the dataset.
        kind: of manipulation: "splicing", "copy_move", "removal", "inpainting"; "" where unknown or none.
        image_file, mask_file: where they were found, below the user's folder; "" for no mask.

    What was found, and what was odd about it, is in `info.metadata` (see `report`).
    """

    VERSION = tfds.core.Version("1.0.0")
    EXPECTED: ClassVar[report.Expected] = {}  # how many images the dataset is known to have
    FILE_BYTES = 256 << 20  # of a file of records, about
    # Nothing is downloaded; TFDS's own look-up needs a package that it does not install.
    url_infos: ClassVar[dict] = {}  # pyright: ignore[reportIncompatibleVariableOverride]

    marks: Callable[[np.ndarray], np.ndarray]  # a mask's values to its manipulated pixels; see `polarity`

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(skip_registration=True, **kwargs)
        cls.MANUAL_DOWNLOAD_INSTRUCTIONS = inspect.cleandoc(cls.__doc__ or "")

    @abc.abstractmethod
    def find(self, placed: Placed) -> Splits:
        """The entries of each split; FileNotFoundError if the files are not placed as distributed."""

    def polarity(self, splits: Splits) -> str:
        """Return which values mark manipulated pixels, in words. Called once, before the first mask is read."""
        return in_words(self.marks)

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text
        features = {
            "image": tfds.features.Image(),
            "mask": tfds.features.Image(shape=(None, None, 1)),
            "label": tfds.features.ClassLabel(names=["authentic", "manipulated"]),
            "id": text(),
            "kind": text(),
            "image_file": text(),
            "mask_file": text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=inspect.cleandoc(self.__doc__ or ""),
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        self._report = report.Report()
        self._root = Path(dl_manager.manual_dir)
        placed = Placed(self._root, self.name, self.MANUAL_DOWNLOAD_INSTRUCTIONS, self._report)
        splits = {split: self._in_order(entries) for split, entries in self.find(placed).items() if entries}
        if not splits:
            raise placed.wrong(self._nothing())
        self._polarity = self.polarity(splits)
        return {split: self._generate_examples(split, entries) for split, entries in splits.items()}

    def _nothing(self) -> str:
        notes = self._report.notes
        lacking = [f"no folder {names}" for names in notes[report.NO_FOLDER]]
        if without := notes[report.NO_MASK]:
            lacking.append(f"{len(without)} images without a mask ({without[0]})")
        return f"no image with its mask was found ({'; '.join(lacking) or 'no images at all'})"

    def _in_order(self, entries: list[Entry]) -> list[Entry]:
        by_id: dict[str, Entry] = {}
        for entry in entries:
            if by_id.setdefault(entry.id, entry) is not entry:
                self._report.note(report.LISTED_TWICE, entry.id)
        uses = Counter(entry.mask for entry in by_id.values() if entry.mask)
        for mask, times in uses.items():
            if times > 1:
                self._report.note(report.SHARED, f"{self._below_root(mask)}: {times} images")
        return [by_id[identifier] for identifier in sorted(by_id)]

    def _generate_examples(self, split: str, entries: list[Entry]) -> Iterator[tuple[int, dict]]:
        counts = self._report.counts[split] = Counter()
        authentic: dict[bytes, str] = {}  # ids by digest of the file
        for index, entry in enumerate(tqdm(entries, desc=f"{self.name}: {split}", unit="image", disable=None)):
            try:
                example = self._example(entry)
            except ImageError as error:
                self._report.note(report.UNUSABLE, str(error))
                continue
            counts[example["label"]] += 1
            if entry.mask is None:
                digest = hashlib.blake2b(example["image"], digest_size=16).digest()
                if (first := authentic.setdefault(digest, entry.id)) != entry.id:
                    self._report.note(report.EQUAL, f"{entry.id} = {first}")
            yield index, example

    def _example(self, entry: Entry) -> dict:
        encoded = read_bytes(entry.image)
        image = decode_image(encoded, entry.id)
        if entry.mask is None:
            mask = np.zeros(image.shape[:2], bool)
        else:
            mask = self._mask(entry, entry.mask, image)
        return {
            "image": encoded,
            "mask": cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes(),
            "label": "authentic" if entry.mask is None else "manipulated",
            "id": entry.id,
            "kind": entry.kind,
            "image_file": self._below_root(entry.image),
            "mask_file": self._below_root(entry.mask) if entry.mask else "",
        }

    def _mask(self, entry: Entry, file: Path, image: np.ndarray) -> np.ndarray:
        name = self._below_root(file)
        try:
            marked = self.marks(decode_values(read_bytes(file), name))
        except ImageError as error:
            raise ImageError(f"{entry.id}: its mask {name}: {str(error).removeprefix(f'{name}: ')}") from None
        mask, change, particulars = orient_mask(marked, image)
        if change:
            self._report.note(report.ROTATED if change == "rotated" else report.SCALED, f"{entry.id}: {particulars}")
        if not mask.any() or mask.all():
            self._report.note(report.FULL if mask.any() else report.EMPTY, entry.id)
        return mask

    @property
    def config_name(self) -> str:
        """Return the name of the configuration that was chosen, such as "jpeg90"; "" where there is none."""
        return self.builder_config.name if self.builder_config else ""

    def _log_download_bytes(self) -> None:
        """Do nothing: TFDS would speak of downloading."""

    def _log_download_done(self) -> None:
        """Do nothing, likewise."""

    def _below_root(self, path: Path) -> str:
        return Path(os.path.relpath(path, self._root)).as_posix()

    def _generate_splits(self, dl_manager, download_config) -> list[tfds.core.SplitInfo]:
        """Write the splits, one example at a time.

        TFDS's own method gathers a whole split in memory, and beyond 1 GB it needs TensorFlow.
        """
        splits = []
        for split, examples in self._split_generators(dl_manager).items():
            examples = itertools.islice(examples, download_config.max_examples_per_split)
            splits.append(self._write_split(split, (example for _, example in examples)))
        cast(dict, self.info.metadata).update(self._report.metadata(self._polarity, self.EXPECTED))
        return splits

    def _write_split(self, split: str, examples: Iterator[dict]) -> tfds.core.SplitInfo:
        template = self._get_filename_template(split_name=split)
        features = cast(tfds.features.FeaturesDict, self.info.features)
        records = map(features.serialize_example, examples)
        files, lengths = write_records(records, Path(self.data_dir), split, self.FILE_BYTES)
        if not files:
            last = self._report.notes[report.UNUSABLE][-1]
            raise ValueError(f"{self._root}: no image of {self.name} ({split}) can be used; the last: {last}")
        size = sum(file.stat().st_size for file in files)
        for index, file in enumerate(files):
            file.rename(template.sharded_filepath(shard_index=index, num_shards=len(files)))
        return tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=size, filename_template=template)


class UnverifiedPolarity(ManipulationDataset):
    """A dataset of which it is not known which values mark manipulated pixels: the smaller area of its masks does."""

    SAMPLE = 200  # masks read at most, evenly spaced

    def polarity(self, splits: Splits) -> str:
        """Infer the polarity from the masks, and say what was inferred."""
        masks = sorted({entry.mask for entries in splits.values() for entry in entries if entry.mask})
        try:
            inferred = minority(self._readable(masks[:: -(-len(masks) // self.SAMPLE) or 1]))
        except ValueError as error:
            raise ValueError(f"{self._root}: {error}") from None
        self.marks = inferred.marks
        return str(inferred)

    def _readable(self, masks: list[Path]) -> Iterator[np.ndarray]:
        for mask in masks:
            try:
                yield eight_bits(decode_values(read_bytes(mask), self._below_root(mask)))
            except ImageError:  # reported when its image's turn comes
                continue
