"""A photograph's past: what it leaves in the pixels."""

import json

import cv2
import numpy as np
import pytest

from pimjax.config import DegradationConfig, ForgeryConfig, MaskConfig, PidaConfig
from pimjax.data.degradation import degraded_crop, random_jpeg
from pimjax.data.perturb import compress
from pimjax.data.pida import forge, post_process
from pimjax.data.registry import load_source

PHOTO = load_source("installed:validation")[1]["image"][:320, :400]
SEGMENTS = np.arange(320 * 400, dtype=np.int32).reshape(320, 400) // 50 + 2**20


def example():
    return {"image": PHOTO, "mask": np.zeros(PHOTO.shape[:2], np.uint8), "segments": SEGMENTS, "id": "photo"}


def blockiness(image):
    """How much larger the steps between columns are, by column modulo 8."""
    steps = np.abs(np.diff(image.astype(float).mean(-1), axis=1)).mean(0)
    return np.array([steps[i::8].mean() for i in range(8)]) / np.median(steps)


def test_own_tables_of_standard_shape_give_what_opencv_writes():
    for quality in (50, 92):  # no step of which lies half way between two
        ours, theirs = (compress(PHOTO, quality, flatness=f).astype(int) for f in (1 - 1e-9, 1))
        assert np.abs(ours - theirs).max() <= 1  # the same library, or its next version


@pytest.mark.parametrize("dx", [0, 3])
def test_the_grid_lies_where_it_was_put(dx):
    assert blockiness(compress(PHOTO, 15, dx=dx)).argmax() == (7 - dx) % 8


def test_flat_tables_keep_fine_detail_that_standard_ones_drop():
    def fine(image):
        return np.abs(cv2.dct(image[64:72, 64:72].mean(-1).astype(np.float32)))[5:, 5:].sum()

    noisy = np.clip(PHOTO + np.random.default_rng(0).normal(0, 25, PHOTO.shape), 0, 255).astype(np.uint8)
    assert fine(compress(noisy, 50, 444, flatness=0.3)) > 2 * fine(compress(noisy, 50, 444))


@pytest.mark.parametrize("grid_aligned_prob", [1.0, 0.0])
def test_taking_cuts_native_pixels_where_nothing_else_is_asked(grid_aligned_prob):
    starts = []
    for seed in range(6):
        out = degraded_crop(
            example(), 64, np.random.default_rng(seed), DegradationConfig(grid_aligned_prob=grid_aligned_prob)
        )
        places = np.argwhere((PHOTO[: 320 - 63, : 400 - 63] == out["image"][0, 0]).all(-1))
        starts += [(y, x) for y, x in places if (PHOTO[y : y + 64, x : x + 64] == out["image"]).all()][:1]
    assert len(set(starts)) == 6
    assert all(y % 8 == x % 8 == 0 for y, x in starts) == (grid_aligned_prob == 1)


def test_taking_scales_and_compresses_as_often_as_told():
    config = DegradationConfig(min_scale=0.4, jpeg_prob=1.0, min_quality=20, grid_aligned_prob=1.0)
    sizes, grid_aligned_prob = [], 0
    for seed in range(40):
        out = degraded_crop(example(), 96, np.random.default_rng(seed), config)
        assert out["image"].shape == (96, 96, 3) and out["mask"].shape == out["segments"].shape == (96, 96)
        assert set(np.unique(out["segments"])) <= set(np.unique(SEGMENTS))  # labels are never mixed
        sizes.append((out["segments"][-1, 0] - out["segments"][0, 0]) / 8)  # eight labels a row
        grid_aligned_prob += blockiness(out["image"]).argmax() == 7
    assert min(sizes) < 110 and 170 < max(sizes) <= 96 / 0.4
    assert grid_aligned_prob > 20  # not where quality was high
    # As far as the photograph reaches, and not beyond.
    assert degraded_crop(example(), 400, np.random.default_rng(0), config)["image"].shape == (400, 400, 3)


def test_pixels_of_another_past_show_the_same():
    config = PidaConfig(
        after_jpeg=0,
        degradation=DegradationConfig(min_scale=0.5, jpeg_prob=0.5, min_quality=70),
        kinds=ForgeryConfig(pida=0, recompressed=1),
        masks=MaskConfig(soft_edge=0),
    )
    compressed = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        taken = degraded_crop(example(), 128, rng, config.degradation)
        compressed += (taken["image"] != taken["before"]).any()
        forged = post_process(forge(taken, rng, config), rng, config)
        inside = forged["mask"] == 255
        change = np.abs(forged["image"].astype(int) - taken["image"])
        assert change[inside].any() and not change[~inside].any()
        assert change[inside].mean() < 20  # compressed, softer or neither, but of the same content
        assert "before" not in forged and json.loads(forged["recipe"])["kind"] == "recompressed"
    assert 8 < compressed < 22


def test_any_program_s_jpeg_is_a_function_of_the_generator():
    (a, said), (b, _) = (random_jpeg(PHOTO, np.random.default_rng(3), 60, 0.5) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert said["quality"] >= 60
    np.testing.assert_array_equal(a, compress(PHOTO, **said))
