"""Robustness corruptions: the field's parameters as literals, and what they measurably do."""

import io
import itertools

import cv2
import numpy as np
import pytest
from PIL import Image

from pimjax.data.registry import load_source
from pimjax.evaluation.corruptions import CORRUPTIONS
from pimjax.evaluation.robustness import corruption_runs
from pimjax.evaluation.sent_again import decode, encode_jpeg

CAT = load_source("installed:validation")[0]["image"][60:220, 120:301]
GRAY = np.full((256, 256, 3), 128, np.uint8)
NINE = ("brightness-up", "brightness-down", "contrast", "dithering", "jpeg2000", "pink-noise")
LEVELS = [(name, level) for name, corruption in CORRUPTIONS.items() for level in corruption.levels]
# Levels that leave an image as it is, in the tables or not; the two JPEGs have none.
IDENTITY = dict.fromkeys(("blur", "gamma", "resize", "contrast"), 1) | {"dithering": 256}
IDENTITY |= dict.fromkeys(("noise", "noise-variance", "brightness-up", "brightness-down", "pink-noise"), 0)


def apply(name, level, image=CAT, seed=0):
    return CORRUPTIONS[name].apply(image, level, np.random.default_rng(seed))


def test_levels_are_the_specified_ones():
    assert {name: CORRUPTIONS[name].levels for name in CORRUPTIONS if name not in NINE} == {
        "blur": (3, 7, 11, 15, 19, 23),
        "noise": (3, 7, 11, 15, 19, 23),
        "noise-variance": (3, 7, 11, 15, 19, 23),
        "jpeg": (50, 60, 70, 80, 90, 100),
        "gamma": (0.7, 0.85, 1, 1.15, 1.3),
        "resize": (0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75),
        "webp": (90, 80, 70, 60, 50),
        "rescale": (0.75, 0.5, 0.25),
        "double-jpeg": (50, 60, 70, 80, 95),
        "grid-shift": (1, 2, 3, 4, 5, 6, 7),
        "scaled-jpeg": (0.9, 0.75, 0.5),
        "avif": (90, 80, 70, 60, 50),
        "screenshot": (1.25, 0.9, 0.75, 0.5, 0.33),
        "facebook": (95, 87, 79, 71),
        "whatsapp": (80, 70, 60),
    }
    assert [len(CORRUPTIONS[name].levels) for name in NINE] == [9] * 6


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_every_level_gives_a_picture_and_leaves_its_input(name, level):
    before = CAT.copy()
    out = apply(name, level)
    assert out.dtype == np.uint8
    factor = level if name in ("resize", "screenshot", "scaled-jpeg") else 1
    cut = level if CORRUPTIONS[name].cuts else 0
    assert out.shape == (round(160 * factor) - cut, round(181 * factor) - cut, 3)
    np.testing.assert_array_equal(CAT, before)
    np.testing.assert_array_equal(out, apply(name, level))
    if level != IDENTITY.get(name):
        assert out.shape != CAT.shape or (out != CAT).any()


@pytest.mark.parametrize("name", IDENTITY)
def test_identity_levels_change_nothing(name):
    np.testing.assert_array_equal(apply(name, IDENTITY[name]), CAT)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(4, 4), (5, 31)])
def test_protocols_take_any_size(name, shape):
    if CORRUPTIONS[name].cuts:
        shape = shape[0] + 7, shape[1] + 7
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for level in (CORRUPTIONS[name].levels[0], CORRUPTIONS[name].levels[-1]):
        assert apply(name, level, image).ndim == 3


@pytest.mark.parametrize("name", [*NINE, "blur", "noise", "noise-variance"])
def test_distortion_grows_with_the_level(name):
    errors = [np.mean((apply(name, level).astype(float) - CAT) ** 2) for level in CORRUPTIONS[name].levels]
    assert (np.diff(errors) > 0).all()


@pytest.mark.parametrize("level", CORRUPTIONS["blur"].levels)
def test_blur_is_the_sampled_gaussian_of_its_kernel(level):
    """Of an impulse remains the kernel; OpenCV has tables of its own up to side 7, of nearly the same deviation."""
    impulse = np.zeros((41, 41, 3), np.uint8)
    impulse[20, :, :] = 255  # a line: the profile across it is the one-dimensional kernel
    profile = apply("blur", level, impulse)[:, 20, 0].astype(float)
    t = np.arange(41) - 20
    sigma = 0.3 * ((level - 1) / 2 - 1) + 0.8
    kernel = np.exp(-0.5 * (t / sigma) ** 2) * (np.abs(t) <= level // 2)
    np.testing.assert_allclose(profile, 255 * kernel / kernel.sum(), atol=6 if level <= 7 else 1)


@pytest.mark.parametrize("level", CORRUPTIONS["noise"].levels)
def test_noise_has_its_deviation_and_its_variance(level):
    added = apply("noise", level, GRAY).astype(float) - 128
    assert added.std() == pytest.approx(level, rel=0.03)
    assert abs(added.mean()) < 0.03 * level
    # Rounding to gray levels adds its own variance, 1/12.
    assert (apply("noise-variance", level, GRAY).astype(float) - 128).var() - 1 / 12 == pytest.approx(level, rel=0.03)


@pytest.mark.parametrize("level", CORRUPTIONS["jpeg"].levels)
def test_jpeg_is_opencv_s(level):
    _, encoded = cv2.imencode(".jpg", CAT[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, level])
    np.testing.assert_array_equal(apply("jpeg", level), cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.mark.parametrize("level", CORRUPTIONS["gamma"].levels)
def test_gamma_is_the_power_of_every_gray_level(level):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    expected = [round(255 * (v / 255) ** level) for v in range(256)]
    np.testing.assert_array_equal(apply("gamma", level, ramp)[0, :, 1], expected)


def test_brightness_and_contrast_are_linear_and_clipped():
    image = np.array([0, 100, 127, 128, 200, 250], np.uint8)[None, :, None].repeat(3, axis=2)
    assert apply("brightness-up", 30, image)[0, :, 0].tolist() == [30, 130, 157, 158, 230, 255]
    assert apply("brightness-down", -30, image)[0, :, 0].tolist() == [0, 70, 97, 98, 170, 220]
    # 127.5 + 0.2·(v − 127.5)
    assert apply("contrast", 0.2, image)[0, :, 0].tolist() == [102, 122, 127, 128, 142, 152]


@pytest.mark.parametrize("level", CORRUPTIONS["dithering"].levels)
def test_dithering_leaves_few_levels_and_the_mean(level):
    out = apply("dithering", level)
    allowed = np.rint(np.linspace(0, 255, level)).astype(int)
    for channel in range(3):
        assert set(np.unique(out[..., channel])) <= set(allowed.tolist())
        assert out[..., channel].mean() == pytest.approx(CAT[..., channel].mean(), abs=1.0)


def test_dithering_is_floyd_and_steinberg_s():
    """Against the loop over pixels that their paper describes."""
    image = CAT[:13, :17]
    work = np.pad(image[..., 0].astype(float), ((0, 1), (1, 1)))
    for y, x in np.ndindex(13, 17):
        wanted = work[y, x + 1]
        work[y, x + 1] = 85 * np.clip(np.rint(wanted / 85), 0, 3)
        error = wanted - work[y, x + 1]
        for down, right, weight in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
            work[y + down, x + 1 + right] += weight / 16 * error
    np.testing.assert_array_equal(apply("dithering", 4, image)[..., 0], work[:13, 1:-1])


def test_jpeg2000_keeps_to_its_ratio():
    for level in CORRUPTIONS["jpeg2000"].levels:
        picture = cv2.resize(CAT, (512, 512))
        settings = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, round(1000 / level)]
        _, encoded = cv2.imencode(".jp2", picture[..., ::-1], settings)
        assert len(encoded) <= 1.02 * picture.size / level
        np.testing.assert_array_equal(
            apply("jpeg2000", level, picture), cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
        )


@pytest.mark.parametrize("level", CORRUPTIONS["pink-noise"].levels)
def test_pink_noise_has_its_deviation_and_power_falls_as_the_frequency(level):
    added = apply("pink-noise", level, GRAY).astype(float) - 128
    np.testing.assert_allclose(added.std((0, 1)), level, rtol=0.03)
    power = (np.abs(np.fft.fft2(added, axes=(0, 1), norm="ortho")) ** 2).mean(-1) - 1 / 12  # of rounding
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    edges = np.geomspace(0.03, 0.4, 9)
    band = [power[(f >= low) & (f < high)].mean() for low, high in itertools.pairwise(edges)]
    slope = np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(band), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)


def test_noise_is_a_function_of_the_generator():
    for name in ("noise", "noise-variance", "pink-noise"):
        assert (apply(name, 11, seed=0) != apply(name, 11, seed=1)).any()


def quality_of(file):
    """The first quantization step of luma, which OpenCV's qualities have in this order."""
    return Image.open(io.BytesIO(file)).quantization[0][0]


def test_two_saves_leave_the_traces_of_both():
    file = CORRUPTIONS["double-jpeg"].encode(CAT, 50)
    assert quality_of(file) == quality_of(encode_jpeg(CAT, 90))
    once, twice = (np.abs(decode(encode_jpeg(CAT, q)).astype(int) - decode(file)).mean() for q in (90, 50))
    assert twice < once  # the first save did the harm


def test_a_cut_moves_the_grid_and_the_mask_goes_with_it():
    mask = np.zeros(CAT.shape[:2], np.uint8)
    mask[50:60, 70:90] = 255
    (_, plain), (about, change) = corruption_runs({"grid-shift": (3,)})
    assert plain is None and about == {"corruption": "grid-shift", "level": 3}
    given = change({"image": CAT, "mask": mask, "file": b"the original's"}, 0)
    assert given["image"].shape[:2] == given["mask"].shape == (157, 178)
    np.testing.assert_array_equal(np.argwhere(given["mask"]), np.argwhere(mask) - 3)
    np.testing.assert_array_equal(decode(given["file"]), given["image"])
    assert np.abs(given["image"].astype(int) - CAT[3:, 3:]).mean() < 3
    with pytest.raises(ValueError, match="181×160 pixels, of which 160 rows and columns are to be cut off"):
        apply("grid-shift", 160)


@pytest.mark.parametrize(("name", "side"), [("facebook", 2048), ("whatsapp", 1600)])
def test_networks_limit_the_longest_side_and_save(name, side):
    large = cv2.resize(CAT, (1000, 2100))
    given = apply(name, 80, large)
    assert given.shape == (side, round(1000 * side / 2100), 3)
    assert quality_of(CORRUPTIONS[name].encode(large, 80)) == quality_of(encode_jpeg(large, 80))
    np.testing.assert_array_equal(apply(name, 80), apply("jpeg", 80))  # small ones keep their size


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if CORRUPTIONS[name].encode])
def test_the_file_for_who_reads_coefficients_has_the_pixels(name):
    level = CORRUPTIONS[name].levels[0]
    np.testing.assert_array_equal(decode(CORRUPTIONS[name].encode(CAT, level)), apply(name, level))


def test_a_screenshot_enlarges_without_ringing_of_a_codec():
    """A step stays a step: between its two levels but for the kernel's overshoot, and nothing far from it."""
    step = np.repeat(np.where(np.arange(64) < 32, 60, 180).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    shown = apply("screenshot", 1.25, step)
    assert (shown[:, :30] == 60).all() and (shown[:, 50:] == 180).all()


def test_a_build_without_avif_says_so(monkeypatch):
    monkeypatch.setattr(cv2, "imencode", lambda *arguments: (False, None))
    with pytest.raises(OSError, match=r"this OpenCV cannot write \.avif"):
        apply("avif", 80)
