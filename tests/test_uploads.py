"""What becomes of a file on its way: the grid, the scale, the mask, and that pixels of both kinds go the same way."""

import numpy as np
import pytest
from test_degradation import blockiness

from pimjax.config import DataConfig, DegradationConfig, ForgeryConfig, PidaConfig, UploadConfig
from pimjax.data.donors import Donors
from pimjax.data.perturb import compress
from pimjax.data.registry import load_source
from pimjax.data.stages import stages
from pimjax.data.uploads import Upload, draw_uploads, send, side_before

SOURCE = load_source("installed:validation")
PHOTO = SOURCE[1]["image"][:320, :400]
NO_MASK = np.zeros(PHOTO.shape[:2], np.uint8)
CONFIG = UploadConfig(probability=1.0, most=3, cut_prob=0.5, scale_prob=0.5)


def test_a_cut_moves_the_grid_and_a_new_file_begins_another():
    compressed = compress(PHOTO, 10)
    cut, _ = send(compressed, NO_MASK, [Upload((0, 3), 1.0, "lossless")], np.random.default_rng(0), CONFIG)
    assert (cut == compressed[:, 3:]).all()
    assert blockiness(cut).argmax() == 7 - 3
    worse = UploadConfig(min_quality=1)
    seeds = [seed for seed in range(40) if int(np.random.default_rng(seed).integers(1, 99)) < 8]
    again, _ = send(PHOTO, NO_MASK, [Upload((0, 3), 1.0, "jpeg")], np.random.default_rng(seeds[0]), worse)
    assert blockiness(again).argmax() == 7


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_what_is_lossy_changes_pixels_a_little(codec):
    out, _ = send(PHOTO, NO_MASK, [Upload((0, 0), 1.0, codec)], np.random.default_rng(0), CONFIG)
    assert 0 < np.abs(out.astype(int) - PHOTO).mean() < 8
    assert abs(out.astype(int) - PHOTO).mean((0, 1)).max() < 10  # no channels swapped


def test_the_mask_goes_where_the_picture_goes():
    picture, mask = np.zeros((200, 200, 3), np.uint8), np.zeros((200, 200), np.uint8)
    picture[101:151, 53:103] = mask[101:151, 53:103] = 255
    way = [Upload((5, 3), 0.5, "lossless"), Upload((2, 0), 0.8, "lossless")]
    out, moved = send(picture, mask, way, np.random.default_rng(0), CONFIG)
    assert out.shape[:2] == moved.shape
    assert set(np.unique(moved)) == {0, 255}
    assert ((out.mean(-1) > 127) == (moved > 127)).mean() > 0.99


def test_the_square_that_is_cut_first_is_large_enough_and_not_much_larger():
    rng = np.random.default_rng(0)
    ways = [draw_uploads(rng, CONFIG) for _ in range(200)]
    assert {len(way) for way in ways} == {1, 2, 3}
    for way in ways:
        side = side_before(64, way)
        mask = np.zeros((side, side), np.uint8)
        _, out = send(np.zeros((side, side, 3), np.uint8), mask, way, rng, CONFIG)
        assert 64 <= min(out.shape) <= 64 + 8 * len(way)


def test_none_is_drawn_and_no_number_used_where_none_is_asked_for():
    rng = np.random.default_rng(0)
    assert draw_uploads(rng, UploadConfig()) == ()
    assert rng.random() == np.random.default_rng(0).random()


def test_training_samples_come_out_square_forged_or_not():
    data = DataConfig(image_size=64, resize_mode="crop")
    config = PidaConfig(
        probability=0.5,
        after_resize=0.5,
        degradation=DegradationConfig(min_scale=0.5, jpeg_prob=0.8),
        kinds=ForgeryConfig(splicing=1.0, recompressed=1.0),
        uploads=CONFIG,
    )
    way, forged = stages(data, config, Donors((SOURCE,))), 0
    for seed in range(40):
        sample, rng = SOURCE[seed % 2], np.random.default_rng(seed)
        for stage in way:
            sample = stage(sample, rng)
        assert sample["image"].shape == (64, 64, 3)
        assert sample["mask"].shape == (16, 16)
        forged += bool(sample["recipe"].find('"kind"') >= 0)
    assert 10 < forged < 30
