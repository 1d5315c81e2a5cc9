"""From a source to batches: the only place that knows grain."""

import dataclasses
import errno
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
from pimjax.data.donors import Donors
from pimjax.data.masks import is_manipulated
from pimjax.data.sources import Example, SkipUnreadable, Source, decode_example
from pimjax.data.stages import square, stages, targets

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class TrainTransform(grain.transforms.RandomMap):
    """Apply the stages of `pimjax.data.stages`: a pure function of the example and the generator."""

    data: DataConfig
    pida: PidaConfig
    donors: Donors | None = None  # whose photographs forgeries may take from

    def random_map(self, element: Example, rng: np.random.Generator) -> Example:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return one training sample; see `pimjax.data.stages.targets` for its arrays."""
        for stage in stages(self.data, self.pida, self.donors):
            element = stage(element, rng)
        return element


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
    """Return the training batches `start_step` … `steps` − 1, the same for a seed whatever the number of workers.

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
    """Pass batches on; raise an OSError that says why and what to do if a worker process cannot go on."""
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
    """Interleave the sources without end, each shuffled anew whenever it is through."""
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
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
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
        y, x = (float(np.mean(positions)) for positions in np.nonzero(example["mask"] > 127))
        if data.resize_mode == "crop":
            example = square(example, data.image_size, center=(y, x))
        examples.append(targets(example | {"recipe": ""}, None, data))
    photographs = [] if examples else [(source, index) for source in sources for index in range(len(source))]
    way = stages(data, pida_config, Donors(tuple(sources)), validation=True)
    for number in range(data.validation_images if photographs else 0):
        rng = np.random.default_rng((seed, number))
        source, index = photographs[number % len(photographs)]
        example = source[index]
        for stage in way:
            example = stage(example, rng)
        examples.append(example)
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
