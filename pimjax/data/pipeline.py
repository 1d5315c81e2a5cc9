"""From a source to batches: the only place that knows grain."""

import dataclasses
import errno
import math
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

import cv2
import grain
import numpy as np

from pimjax.config import DataConfig, PidaConfig
from pimjax.data.degradation import crop_and_degrade
from pimjax.data.donors import Donors
from pimjax.data.masks import boundary_band, is_manipulated
from pimjax.data.pida import after_factor, forge, pida
from pimjax.data.sources import Example, SkipUnreadable, Source, decode_example
from pimjax.data.transforms import STRIDE, crop_square, resize, target_mask, to_uint8
from pimjax.normalization import normalize

Batch = dict[str, np.ndarray]
MAPS = ("image", "before", "mask", "segments")  # what of an example is cut and flipped together


def prepare(example: Example, data: DataConfig) -> Example:
    """Return network input and targets of an example whose image already is square of `data.image_size`, or is made so
    here.

    Returns "image" uint8 [S, S, 3], "mask" and "boundary" uint8 0/1 [s, s], "target" float32 [s, s, 3] (the
    normalized image that the image decoder should reconstruct), s = S/4, and the strings "id", "recipe" and (from a
    `SkipUnreadable`) "skipped". The image is rounded to uint8 to travel to the device: up to 0.009 of the normalized
    input's unit away from the released preprocessing, which does not round.
    """
    image, mask, size = example["image"], example["mask"], data.image_size
    s = -(-size // STRIDE)
    # Targets come from the photo's own resolution, as in the released preprocessing, except the boundary: its width
    # is counted in pixels of the network input.
    band = boundary_band(target_mask(mask, size, size), data.boundary_width)
    return {
        "image": image if image.shape[:2] == (size, size) else to_uint8(resize(image, size, size)),
        "mask": target_mask(mask, s, s),
        "boundary": target_mask(band.view(np.uint8) * np.uint8(255), s, s),
        "target": normalize(resize(image, s, s)),
        "id": example["id"],
        "recipe": example["recipe"],
        "skipped": example.get("skipped", ""),
    }


@dataclasses.dataclass(frozen=True)
class TrainTransform(grain.transforms.RandomMap):
    """Crop (if so configured), flip, PIDA, targets: a pure function of the example and the generator."""

    data: DataConfig
    pida: PidaConfig
    donors: Donors | None = None  # whose photographs forgeries may take from

    def random_map(self, example: Example, rng: np.random.Generator) -> Example:
        """Return one training sample; see `prepare` for its arrays."""
        return prepare(self.augment(example, rng)[1], self.data)

    def augment(self, example: Example, rng: np.random.Generator) -> tuple[Example, Example]:
        """Return the example cut and flipped, and what was made of it; "recipe" says what."""
        manipulated, factor = is_manipulated(example["mask"]), after_factor(rng, self.pida)
        if manipulated or self.data.resize_mode != "crop":
            example = _square(example, self.data, tuple(rng.random(2) * example["mask"].shape))
        else:
            example = crop_and_degrade(example, math.ceil(self.data.image_size / factor), rng, self.pida.degradation)
        if self.data.flip and rng.random() < 0.5:
            example = example | {key: cv2.flip(example[key], 1) for key in MAPS if key in example}
        # A crop that misses the mask of a manipulated photo is a sample without manipulation, not one to forge again.
        if manipulated:
            return example, example | {"recipe": ""}
        forged = pida(example, rng, self.pida, self.donors, factor)
        # What was scaled at the end needs its square again.
        return example, _square(forged, self.data, tuple(rng.random(2) * forged["mask"].shape))


def train_batches(
    sources: Sequence[Source],
    data: DataConfig,
    pida_config: PidaConfig,
    seed: int,
    start_step: int,
    steps: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Return the training batches number `start_step` … `steps` − 1, the same for a seed whatever the number of
    workers.

    Every batch is a function of its number alone, so a resumed run continues with exactly the batches it had not
    seen. `data.batch_size` counts the images of all processes; each gets its share.
    """
    # OpenCV's own threads help no image of this size, and fight the training step for the cores.
    cv2.setNumThreads(1)
    dataset = (
        _mixture(sources, data.weights, seed)
        .random_map(TrainTransform(data, pida_config, Donors(tuple(sources))))
        .slice(slice(steps * data.batch_size))
        # Sliced after the random map: before it, every process would draw the same augmentations. And in whole batches:
        # all processes together have the samples in the order in which one alone would.
        .batch(data.batch_size // process_count)
        .slice(slice(start_step * process_count + process_index, steps * process_count, process_count))
    )
    iterable = dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
    if data.num_workers:
        iterable = iterable.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=data.num_workers, per_worker_buffer_size=2),
            worker_init_fn=_start_worker,
        )
    return _explain_worker_errors(iter(iterable), data.num_workers)


def _explain_worker_errors(batches: Iterator[Batch], workers: int) -> Iterator[Batch]:
    """Return the same batches; a worker process that cannot go on is an OSError that says why and what to do."""
    try:
        yield from batches
    except (OSError, RuntimeError) as error:
        text = str(error)
        # A worker that writes to /dev/shm when it is full gets ENOSPC, or is ended by SIGBUS.
        if getattr(error, "errno", None) == errno.ENOSPC or f"exit code {-signal.SIGBUS:d}" in text:
            free = f"{shutil.disk_usage('/dev/shm').free / 1e6:.1f} MB are free"
            raise OSError(
                f"/dev/shm: too small for the batches of config.data.num_workers = {workers} ({free}); enlarge it, "
                "as with docker run --shm-size=2g, or give --config.data.num_workers=0"
            ) from None
        if f"exit code {-signal.SIGKILL:d}" in text:
            raise OSError(
                f"one of config.data.num_workers = {workers} processes was killed, as when memory runs out; give fewer"
            ) from None
        raise


def _mixture(sources: Sequence[Source], weights: Sequence[float], seed: int) -> grain.MapDataset:
    """Return an endless interleaving of the sources, each shuffled anew whenever it is through."""
    parts = [
        grain.MapDataset.source(Reshuffled(SkipUnreadable(source), seed + number)).seed(seed + number)
        for number, source in enumerate(sources)
    ]
    if len(parts) == 1:
        return parts[0]
    return grain.MapDataset.mix(parts, list(weights or map(len, sources))).seed(seed)


class Reshuffled:
    """A source without end: all its examples in one order, then in another, by seed and round alone.

    In place of grain's own shuffle, which computes every index for itself and takes 7 ms an index where there are six
    (grain 0.2.18; 0.1 ms where there are 440).
    """

    def __init__(self, source: SkipUnreadable, seed: int):
        self._source, self._seed = source, seed
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))  # the newest round's

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> Example:
        number, place = divmod(index, len(self._source))
        newest, order = self._order
        if newest != number:
            order = np.random.default_rng((self._seed, number)).permutation(len(self._source))
            self._order = number, order
        return self._source[int(order[place])]

    def __repr__(self) -> str:  # grain prints it in its error messages
        return f"{self._source.source}, reshuffled"


def _start_worker(index: int, count: int) -> None:
    cv2.setNumThreads(1)
    # A terminal sends Ctrl-C to every process, a scheduler SIGTERM; only the training process answers, and then ends
    # its workers. If it was killed, they see to it themselves.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def validation_set(sources: Sequence[Source], data: DataConfig, pida_config: PidaConfig, seed: int) -> Batch:
    """Return the fixed validation set, stacked into one batch of host arrays [N, …].

    Every manipulated example of the sources is taken, once and as it is (cut around its mask where the model trains on
    crops), or `data.max_validation` of them, always the same. If there is none, `data.validation_images` forgeries are
    made from the authentic ones, each photograph in turn. The same for a seed, whatever the training does.

    Raises:
        ImageError: a file of the validation source cannot be used; none is passed over.
    """
    examples = []
    for example in _manipulated(sources, data.max_validation):
        y, x = (np.mean(positions) for positions in np.nonzero(example["mask"] > 127))
        examples.append(prepare(_square(example, data, (y, x)) | {"recipe": ""}, data))
    photographs = [] if examples else [(source, index) for source in sources for index in range(len(source))]
    donors = Donors(tuple(sources))
    for number in range(data.validation_images if photographs else 0):
        rng = np.random.default_rng((seed, number))
        source, index = photographs[number % len(photographs)]
        example = source[index]
        factor = after_factor(rng, pida_config)
        if data.resize_mode == "crop":
            example = crop_and_degrade(example, math.ceil(data.image_size / factor), rng, pida_config.degradation)
        forged = forge(example, rng, pida_config, donors, factor)
        examples.append(prepare(_square(forged, data, tuple(rng.random(2) * forged["mask"].shape)), data))
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}


def _manipulated(sources: Sequence[Source], most: int) -> Iterator[Example]:
    """Return the manipulated examples, or `most` of them drawn from all over the sources."""
    places = [(source, index) for source in sources for index in source.annotated]
    if len(places) > most:
        places = [places[i] for i in np.random.default_rng(0).permutation(len(places))]
    for source, index in places:
        encoded = source.encoded(index)
        # A mask must be decoded to know that it marks something; a photograph without one need not be.
        if encoded.mask is not None and is_manipulated((example := decode_example(encoded))["mask"]):
            yield example
            most -= 1
            if not most:
                return


def _square(example: Example, data: DataConfig, center: tuple[float, float]) -> Example:
    """Return the example cut to a square of native pixels around `center` (y, x), or whole where the model resizes."""
    if data.resize_mode != "crop":
        return example
    maps = {key: example[key] for key in MAPS if key in example}
    cut = crop_square(maps, data.image_size, center)
    return example | {key: np.ascontiguousarray(array) for key, array in cut.items()}
