"""Few shapes for photos of all sizes, and memory that is bounded by tiles and by what is read ahead."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from red import Red

from pimjax.data.images import write_png
from pimjax.files import RECORD
from pimjax.inference import predict
from pimjax.inference.inputs import find_photos
from pimjax.inference.localizer import STRIDE, Localizer
from pimjax.inference.outputs import measure, write_outputs
from pimjax.inference.predict import BatchPredictor, OutputOptions
from pimjax.inference.prefetch import grouped, prefetch
from pimjax.inference.tiles import blend_tiles
from pimjax.weights.card import ModelCard

RNG = np.random.default_rng(0)


class Blocks(Localizer):
    """A localizer at native resolution whose network averages the red of 4×4 pixels; `seen` are its inputs'."""

    def __init__(self, batch=1):
        self.card = ModelCard(preprocessing=ModelCard().preprocessing | {"resize_mode": "crop", "image_size": 256})
        self.batch, self.seen, self.hash, self.precision = batch, [], "0" * 64, "float32"
        self._native, self._variables, self._predict = True, {}, self.predict

    def predict(self, variables, images, details):
        self.seen.append(images.shape)
        B, H, W, _ = images.shape
        red = images[..., 0].reshape(B, H // STRIDE, STRIDE, W // STRIDE, STRIDE).mean((2, 4))
        return ((red + 2.2) / 5,)


CASE = ((130, 200), (140, 100), (140, 450), (200, 130), (200, 320), (260, 400), (260, 70))  # A17_many_small_sizes
CASE += ((330, 200), (390, 260), (66, 500), (70, 260), (70, 66))


@pytest.mark.parametrize("sizes", [CASE, RNG.integers(9, 600, (60, 2)), [(n, 640) for n in range(8, 800, 24)]])
def test_photos_of_all_sizes_take_few_shapes(sizes):
    localizer = Blocks()
    for H, W in sizes:
        localizer(np.zeros((H, W, 3), np.uint8))
    assert len(set(localizer.seen)) <= 8
    # Those of the sets that the model was measured on.
    localizer.seen.clear()
    for size in ((256, 384), (384, 256), (500, 334), (768, 512)):
        localizer(np.zeros((*size, 3), np.uint8))
    assert localizer.seen[:3] == [(1, 256, 384, 3), (1, 384, 256, 3), (1, 512, 384, 3)]
    assert set(localizer.seen[3:]) == {(1, 512, 512, 3)}


def test_small_photos_share_the_device(tmp_path):
    """Photos of two shapes, in turn: full batches of each, and rows in the photos' order."""
    for number in range(8):
        write_png(tmp_path / f"shots/{number}.png", RNG.integers(0, 255, (60 + 190 * (number % 2), 50, 3), np.uint8))
    localizer, output = Blocks(batch=4), tmp_path / "out"
    run = BatchPredictor(
        localizer, "", find_photos([str(tmp_path / "shots")]), output, output / "p.jsonl", {}, OutputOptions(())
    )
    assert [Path(row["photo"]).stem for row in run.run()] == list("01234567")
    assert sorted(localizer.seen) == [(4, 192, 192, 3), (4, 256, 384, 3)]


def test_a_photo_is_put_together_as_if_its_map_were_made_whole():
    photo = RNG.integers(0, 256, (1096, 840, 3), np.uint8)
    localizer = Blocks(batch=3)
    whole = localizer.predict({}, (photo[None] / 255 - 0.485) / 0.229, False)[0][0]
    result = localizer(photo)
    np.testing.assert_allclose(result.map, whole, atol=1e-5)
    assert localizer.seen[1:] == [(3, 512, 512, 3)] * 2  # 3 × 2 tiles
    maps = blend_tiles(lambda tile: {"red": tile[..., 0].astype(np.float32)}, photo, 300, 40)
    np.testing.assert_allclose(maps["red"], photo[..., 0], rtol=1e-5)


def test_memory_is_bounded_by_tiles(tmp_path):
    photo = RNG.integers(0, 256, (2400, 3601, 3), np.uint8)  # 8.6 million pixels
    outputs = ("probability", "overlay", "mask", "npy")
    localizer = Blocks()
    tracemalloc.start()
    try:
        result = localizer(photo)
        figures, localized = measure(result.probability, result.score, 0.5), tracemalloc.get_traced_memory()[1]
        write_outputs(result, tmp_path / "x", outputs, 0.5, bits=16)
        written = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert figures["width"] == 3601
    per_pixel = [peak / (photo.size / 3) for peak in (localized, written)]
    assert per_pixel[0] < 15 and per_pixel[1] < 25, per_pixel  # bytes


def test_what_is_ahead_is_bounded_by_its_size():
    held, most = [], 0

    def items():
        for size in (1, 1, 1, 30, 1, 50, 50, 2, 2, 2, 2, 2, 2):
            held.append(size)
            yield size

    with ThreadPoolExecutor(4) as pool:
        for size in prefetch(pool, lambda size: size, items(), 3, lambda size: size, 10):
            most = max(most, sum(held) - max(held))  # one may be larger than all that is allowed
            assert len(held) <= 4
            held.remove(size)
    assert most <= 10 and not held
    assert list(grouped([1, 1, 1, 9, 2, 50, 3, 3, 3, 3], 3, lambda size: size, 10)) == [
        [1, 1, 1],
        [9, 2],
        [50],
        [3, 3, 3],
        [3],
    ]


def test_large_photos_are_held_one_at_a_time(tmp_path, monkeypatch):
    for number in range(6):
        write_png(tmp_path / f"shots/{number}.png", np.zeros((600, 600, 3), np.uint8))
    (tmp_path / "shots" / RECORD).unlink()
    monkeypatch.setattr(predict, "MOST_PIXELS", 100_000)
    peaks = []

    class Counting(Red):
        def localize(self, photos, *arguments):
            peaks.append(tracemalloc.get_traced_memory()[0] / photos[0].nbytes)
            return super().localize(photos, *arguments)

    output = tmp_path / "out"
    run = BatchPredictor(
        Counting(), "", find_photos([str(tmp_path / "shots")]), output, output / "p.jsonl", {}, OutputOptions(())
    )
    tracemalloc.start()
    try:
        assert len(list(run.run())) == 6
    finally:
        tracemalloc.stop()
    assert len(peaks) == 6 and max(peaks) < 1.5, peaks  # photos in memory when the network begins
