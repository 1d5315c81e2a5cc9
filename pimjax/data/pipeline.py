"""From a source to batches: the only place that knows grain."""

import dataclasses
from collections.abc import Iterator

import cv2
import grain
import numpy as np

from pimjax.config import DataConfig, PidaConfig
from pimjax.data.masks import boundary_band
from pimjax.data.pida import forge, pida
from pimjax.data.sources import Example, FileSource, SkipBroken
from pimjax.data.transforms import STRIDE, fit_square, resize, target_mask, to_uint8
from pimjax.normalization import normalize

Batch = dict[str, np.ndarray]


def prepare(example: Example, data: DataConfig) -> Example:
    """Network input and targets of an example whose image already is square of `data.image_size`, or is made so here.

    Returns "image" uint8 [S, S, 3], "mask" and "boundary" uint8 0/1 [s, s], "target" float32 [s, s, 3] (the
    normalised image that the image decoder should reconstruct), s = S/4, and the strings "id", "recipe", "skipped".
    """
    image, mask, size = example["image"], example["mask"], data.image_size
    s = -(-size // STRIDE)
    # Targets come from the photo's own resolution, as in the released preprocessing, except the boundary: its width
    # is counted in pixels of the network input.
    square = (resize(mask, size, size) > 127.5).astype(np.uint8)
    band = boundary_band(square, data.boundary_width)
    return {
        "image": image if image.shape[:2] == (size, size) else to_uint8(resize(image, size, size)),
        "mask": target_mask(mask, s, s),
        "boundary": target_mask(band.astype(np.uint8) * 255, s, s),
        "target": normalize(resize(image, s, s)),
        "id": example["id"],
        "recipe": example["recipe"],
        "skipped": example["skipped"],
    }


@dataclasses.dataclass(frozen=True)
class TrainTransform(grain.transforms.RandomMap):
    """Crop (if so configured), flip, PIDA, targets: a pure function of the example and the generator."""

    data: DataConfig
    pida: PidaConfig

    def random_map(self, example: Example, rng: np.random.Generator) -> Example:
        """One training sample; see `prepare` for its arrays."""
        image, mask = example["image"], example["mask"]
        if self.data.fit == "crop":
            image, mask = fit_square(image, mask, self.data.image_size, tuple(rng.random(2)))
        if self.data.flip and rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        example = example | {"image": np.ascontiguousarray(image), "mask": np.ascontiguousarray(mask)}
        return prepare(pida(example, rng, self.pida), self.data)


def train_batches(
    source: FileSource,
    data: DataConfig,
    pida_config: PidaConfig,
    seed: int,
    start_step: int,
    steps: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """The training batches number `start_step` … `steps` − 1, the same for a seed whatever the number of workers.

    Every batch is a function of its number alone, so a resumed run continues with exactly the batches it had not
    seen. `data.batch_size` counts the images of all processes; each gets its share.
    """
    # OpenCV's own threads help no image of this size, and fight the training step for the cores.
    cv2.setNumThreads(1)
    dataset = (
        grain.MapDataset.source(SkipBroken(source))
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(TrainTransform(data, pida_config))
        # After the random map: before it, every process would draw the same augmentations.
        .slice(slice(process_index, None, process_count))
        .batch(data.batch_size // process_count)
        .slice(slice(start_step, steps))
    )
    iterable = dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
    if data.workers:
        iterable = iterable.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=data.workers, per_worker_buffer_size=2),
            worker_init_fn=_one_thread_per_worker,
        )
    return iter(iterable)


def _one_thread_per_worker(index: int, count: int) -> None:
    cv2.setNumThreads(1)


def validation_set(source: FileSource, data: DataConfig, pida_config: PidaConfig, seed: int) -> Batch:
    """The fixed validation set, stacked into one batch of host arrays [N, …].

    Manipulated examples are taken as they are, once each. Authentic ones become forgeries: the photographs in turn,
    until there are `data.validation_images` examples. The same for a seed, whatever the training does.
    """
    source = SkipBroken(source)
    examples = []
    for index in range(data.validation_images):
        rng = np.random.default_rng((seed, index))
        example = source[index % len(source)]
        if index >= len(source) and example["mask"].any():
            continue
        image, mask = example["image"], example["mask"]
        if data.fit == "crop":
            image, mask = fit_square(image, mask, data.image_size, tuple(rng.random(2)))
        example = example | {"image": np.ascontiguousarray(image), "mask": np.ascontiguousarray(mask), "recipe": ""}
        if not example["mask"].any():
            example = forge(example, rng, pida_config)
        examples.append(prepare(example, data))
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}
