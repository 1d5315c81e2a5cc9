"""Batches: the right arrays, the same for a seed whatever the workers, and continued exactly."""

import dataclasses

import numpy as np
import pytest
from absl import flags

from pimjax.config import Config, DataConfig, ForgeryConfig, PidaConfig
from pimjax.config.load import from_dict
from pimjax.config.validate import check
from pimjax.data.images import ImageError
from pimjax.data.pipeline import TrainTransform, train_batches, validation_set
from pimjax.data.registry import folder_source, load_source
from pimjax.data.stages import targets
from pimjax.data.transforms import crop_square, resize, target_mask
from pimjax.normalization import denormalize, normalize

DATA = DataConfig(image_size=64, resize_mode="crop", batch_size=4, num_workers=0, boundary_width=8)


def batches(count, data=DATA, start=0, **processes):
    sources = [load_source("installed:train")]
    return list(train_batches(sources, data, PidaConfig(), seed=5, start_step=start, steps=count, **processes))


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for key in x:
            np.testing.assert_array_equal(x[key], y[key], err_msg=key)


def test_a_batch_holds_input_and_targets():
    batch = batches(1)[0]
    kinds = {key: (batch[key].dtype, batch[key].shape) for key in ("image", "mask", "boundary", "target")}
    assert kinds == {
        "image": (np.uint8, (4, 64, 64, 3)),
        "mask": (np.uint8, (4, 16, 16)),
        "boundary": (np.uint8, (4, 16, 16)),
        "target": (np.float32, (4, 16, 16, 3)),
    }
    forged = np.array([bool(recipe) for recipe in batch["recipe"]])
    assert (batch["mask"].any((1, 2)) <= forged).all()


def test_batches_do_not_depend_on_the_number_of_workers():
    flags.FLAGS(["pytest"], known_only=True)  # grain's workers read absl flags
    one = batches(5)
    assert_same(one, batches(5))
    assert_same(one, batches(5, dataclasses.replace(DATA, num_workers=2)))
    assert len({batch["image"].tobytes() for batch in one}) == 5


def test_a_resumed_run_continues_with_the_next_batch():
    assert_same(batches(5)[3:], batches(5, start=3))


def test_processes_share_a_batch_without_overlap():
    whole = batches(3)
    parts = [batches(3, process_index=i, process_count=2) for i in range(2)]
    for step, batch in enumerate(whole):
        assert [len(part[step]["image"]) for part in parts] == [2, 2]
        images = np.concatenate([part[step]["image"] for part in parts])
        np.testing.assert_array_equal(images, batch["image"])


def test_the_validation_set_is_fixed_and_forged():
    data = dataclasses.replace(DATA, validation_images=7)
    a, b = (validation_set([load_source("installed:validation")], data, PidaConfig(), seed=1) for _ in range(2))
    assert_same([a], [b])
    assert a["image"].shape == (7, 64, 64, 3)
    assert all(a["recipe"])
    other = validation_set([load_source("installed:validation")], data, PidaConfig(), seed=2)
    assert (a["image"] != other["image"]).any()


def test_manipulated_validation_examples_are_taken_once_and_as_they_are(tmp_path):
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[16:32, 16:48] = 255
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    (tmp_path / "list.csv").write_text("image,mask\na.png,m.png\n")
    examples = validation_set([load_source(f"csv:{tmp_path / 'list.csv'}")], DATA, PidaConfig(), seed=0)
    np.testing.assert_array_equal(examples["image"], image[None])
    expected = np.zeros((16, 16))
    expected[4:8, 4:12] = 1
    np.testing.assert_array_equal(examples["mask"][0], expected)
    # A band of 8 pixels is 2 pixels of the target, one on either side of the mask's edge.
    assert examples["boundary"][0][3:9, 3:13].sum() == examples["boundary"].sum()
    assert not examples["boundary"][0][5:7, 5:11].any()
    assert examples["boundary"][0][6, [3, 4, 11, 12]].all()


def test_a_large_validation_source_is_sampled(tmp_path):
    import cv2

    for i in range(8):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((64, 64, 3), 20 * i, np.uint8))
    cv2.imwrite(str(tmp_path / "m.png"), np.full((64, 64), 255, np.uint8))
    (tmp_path / "list.csv").write_text("".join(f"{i}.png,{'m.png' if i % 2 else ''}\n" for i in range(8)))
    sources = [load_source(f"csv:{tmp_path / 'list.csv'}")]

    def ids(most):
        data = dataclasses.replace(DATA, max_validation=most)
        return [name[-5] for name in validation_set(sources, data, PidaConfig(), seed=0)["id"].tolist()]

    assert sorted(ids(8)) == ["1", "3", "5", "7"]
    assert len(set(ids(3))) == 3
    assert set(ids(3)) < set("1357")
    assert ids(3) == ids(3)


def test_a_broken_validation_file_is_refused(tmp_path):
    """A validation set that shrinks in silence gives scores that cannot be compared."""
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"broken\.png: damaged"):
        validation_set([folder_source(tmp_path)], DATA, PidaConfig(), seed=0)


def test_a_crop_beside_the_mask_of_a_manipulated_photo_is_not_forged_again():
    mask = np.zeros((400, 400), np.uint8)
    mask[:8, :8] = 255
    photo = {"image": np.full((400, 400, 3), 90, np.uint8), "mask": mask, "id": "a"}
    transform = TrainTransform(DATA, PidaConfig(probability=1.0))
    samples = [transform.random_map(photo, np.random.default_rng(seed)) for seed in range(30)]
    missed = [sample for sample in samples if not sample["mask"].any()]
    assert len(missed) > 15
    assert all(sample["recipe"] == "" and (sample["image"] == 90).all() for sample in missed)


def test_targets_are_a_quarter_rounded_up():
    example = {"image": np.zeros((30, 30, 3), np.uint8), "mask": np.zeros((30, 30), np.uint8)}
    strings = {"id": "a", "recipe": "", "skipped": ""}
    out = targets(example | strings, None, dataclasses.replace(DATA, image_size=30))
    assert out["mask"].shape == (8, 8)
    assert out["target"].shape == (8, 8, 3)


def test_crops_are_native_pixels_and_small_photos_are_mirrored():
    image = np.random.default_rng(0).integers(0, 256, (20, 33, 3), np.uint8)
    mask = image[..., 0]
    maps = {"image": image, "mask": mask}
    crop, cut = crop_square(maps, 16, (20, 0)).values()
    np.testing.assert_array_equal(crop, image[4:, :16])
    np.testing.assert_array_equal(cut, mask[4:, :16])
    crop, cut = crop_square(maps, 24, (5, 40)).values()
    np.testing.assert_array_equal(crop[:20], image[:, 9:])
    np.testing.assert_array_equal(crop[20:], image[:-5:-1, 9:])
    assert cut.shape == (24, 24)


@pytest.mark.parametrize("size", [(16, 16), (5, 40), (64, 7)])
def test_resizing_keeps_constants_and_means(size):
    image = np.full((31, 23, 3), 90, np.uint8)
    np.testing.assert_allclose(resize(image, *size), 90, atol=1e-3)
    assert target_mask(np.full((31, 23), 255, np.uint8), *size).all()


def test_normalization_and_back():
    image = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    assert normalize(np.uint8([[[255, 0, 128]]]))[0, 0, 0] == pytest.approx((1 - 0.485) / 0.229)
    np.testing.assert_array_equal(denormalize(normalize(image)), image)


def test_broken_files_do_not_stop_the_batches(tmp_path):
    import cv2

    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((64, 64, 3), 80 * i, np.uint8))
    (tmp_path / "1.png").write_bytes(b"broken")
    batch = next(train_batches([folder_source(tmp_path)], DATA, PidaConfig(), 0, 0, 2))
    named = [line for line in batch["skipped"].tolist() if line]
    assert named
    assert all("1.png: damaged" in line for line in named)


def photographs(folder, count, level):
    import cv2

    folder.mkdir()
    for i in range(count):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((64, 64, 3), level, np.uint8))
    return folder_source(folder)


def test_sources_are_mixed_by_weight_and_each_is_gone_through(tmp_path):
    sources = [photographs(tmp_path / "a", 3, 10), photographs(tmp_path / "b", 9, 200)]

    def ids(weights, steps):
        data = dataclasses.replace(DATA, batch_size=6, weights=weights, flip=False)
        return [np.stack(b["id"]) for b in train_batches(sources, data, PidaConfig(probability=0), 0, 0, steps)]

    for weights, share in (((), 0.25), ((1.0, 1.0), 0.5), ((3.0, 1.0), 0.75)):
        drawn = np.concatenate(ids(weights, 8))
        of_a = [name for name in drawn if str(tmp_path / "a") in name]
        assert len(of_a) / len(drawn) == pytest.approx(share, abs=0.05)
        # The protocol of a fixed number per set and epoch: no image again before all others were seen.
        assert all(len(set(of_a[i : i + 3])) == 3 for i in range(0, len(of_a) - 2, 3))
    np.testing.assert_array_equal(ids((1.0, 1.0), 4), ids((1.0, 1.0), 4))


def test_mixtures_are_the_same_for_any_number_of_workers_and_processes(tmp_path):
    sources = [photographs(tmp_path / "a", 3, 10), load_source("installed:train")]
    kinds = ForgeryConfig(1, 1, 1, 1)
    config = PidaConfig(0.8, after_resize=0.5, kinds=kinds)
    flags.FLAGS(["pytest"], known_only=True)

    def drawn(workers=0, **processes):
        data = dataclasses.replace(DATA, weights=(1.0, 2.0), num_workers=workers)
        return list(train_batches(sources, data, config, 3, 0, 3, **processes))

    one = drawn()
    for workers in (1, 2, 4):
        assert_same(one, drawn(workers))
    for count in (2, 4):
        parts = [drawn(process_index=i, process_count=count) for i in range(count)]
        for step, batch in enumerate(one):
            images = np.concatenate([part[step]["image"] for part in parts])
            np.testing.assert_array_equal(images, batch["image"])
    assert all(batch["image"].shape == (4, 64, 64, 3) for batch in one)


@pytest.mark.parametrize(
    ("weights", "message"), [((0.0,), "must be above 0"), ((1.0, 1.0), "has 2 numbers for the 1 sources")]
)
def test_weights_are_positive_and_one_for_each_source(weights, message):
    with pytest.raises(ValueError, match=rf"config\.data\.weights .*{message}"):
        check(Config(data=DataConfig(weights=weights)))


def test_a_run_stored_with_one_source_by_name_is_still_read():
    assert from_dict(DataConfig, {"train": "csv:a.csv"}).train == ("csv:a.csv",)
