"""Classical detectors: each finds what it is made for, and takes any picture."""

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from pimjax.baselines.classical import _DIAGONAL, error_level, everything, luma, noise_level
from pimjax.baselines.copies import copies, find_copies, is_drawing
from pimjax.baselines.jpeg_grid import _coefficients, jpeg_grid, of_picture
from pimjax.baselines.keypoint_matches import apply
from pimjax.data.perturb import compress
from pimjax.data.registry import load_source
from pimjax.jpeg.double_compression import FREQUENCIES, MIN_GAIN, estimate_double_compression, steps
from pimjax.metrics.conventions import roc_auc, score
from pimjax.models.stems import block_traces, cosine_transform, filter_patches
from pimjax.normalization import normalize

DETECTORS = [everything, error_level, noise_level, jpeg_grid]
# A photograph scaled down: detailed, and without a compression of its own.
PHOTO = cv2.resize(load_source("installed:validation")[0]["image"], (384, 256), interpolation=cv2.INTER_AREA)
REGION = np.zeros(PHOTO.shape[:2], bool)
REGION[72:168, 120:264] = True


def paste(inside, outside):
    return np.where(REGION[..., None], inside, outside).astype(np.uint8)


def smooth():
    """A picture whose only detail is what a test adds."""
    y, x = np.mgrid[:256, :384]
    return np.stack([120 + 60 * np.sin(x / 70), 120 + 60 * np.cos(y / 60), 100 + (x + y) / 8], -1)


@pytest.mark.parametrize(("inside", "outside"), [(6, 2), (1.5, 5)])
def test_noise_level_finds_a_region_of_other_noise(inside, outside):
    deviation = np.where(REGION, inside, outside)[..., None]
    noisy = smooth() + deviation * np.random.default_rng(0).standard_normal((256, 384, 3))
    out = noise_level(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    assert roc_auc(out, REGION) > 0.97
    assert score(out, REGION)["f1"] > 0.8


def test_noise_level_measures_the_standard_deviation():
    """The filter leaves white noise its deviation; luma is a weighted mean of three independent channels."""
    noise = 4 * np.random.default_rng(0).standard_normal((256, 256, 3)).astype(np.float32)
    detail = cv2.filter2D(luma(noise), -1, _DIAGONAL)
    assert detail.std() == pytest.approx(4 * np.sqrt(0.299**2 + 0.587**2 + 0.114**2), rel=0.03)
    assert np.median(np.abs(detail)) / 0.6745 == pytest.approx(detail.std(), rel=0.03)


@pytest.mark.parametrize("seed", range(2))
def test_error_level_finds_a_region_without_the_compression_of_the_rest(seed):
    """What has been compressed at quality 90 hardly changes when it is again."""
    noisy = smooth() + 6 * np.random.default_rng(seed).standard_normal((256, 384, 3))
    raw = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    out = error_level(paste(raw, compress(raw, 90)))
    assert roc_auc(out, REGION) > 0.97
    assert score(out, REGION)["f1"] > 0.8


@pytest.mark.parametrize(("primary_gain", "last"), [(60, 90), (75, 92), (50, 80)])
def test_jpeg_grid_finds_what_was_not_compressed_twice(primary_gain, last):
    for inside in (PHOTO, compress(PHOTO, primary_gain, dy=3, dx=5)):
        out = jpeg_grid(compress(paste(inside, compress(PHOTO, primary_gain)), last))
        assert roc_auc(out, REGION) > 0.9
        assert score(out, REGION)["f1"] > 0.6


@pytest.mark.parametrize("primary_gain", [60, 75, 90])
def test_jpeg_grid_finds_what_does_not_keep_to_the_only_compression(primary_gain):
    for inside in (PHOTO, compress(PHOTO, 80, dy=3, dx=5)):
        out = jpeg_grid(paste(inside, compress(PHOTO, primary_gain)))
        assert roc_auc(out, REGION) > 0.9
        assert score(out, REGION)["f1"] > 0.6


def test_jpeg_grid_marks_nothing_without_a_contradiction():
    assert not jpeg_grid(PHOTO).any()
    for quality in (50, 66, 70, 75, 90):
        assert (jpeg_grid(compress(PHOTO, quality)) > 0.5).mean() < 0.02
        assert of_picture(compress(PHOTO[64:192, 96:224], quality)).primary_gain < MIN_GAIN


@pytest.mark.parametrize("quality", [50, 75, 85])
def test_steps_are_the_quantization_table(quality):
    """The standard's luminance table (JPEG, annex K) at the quality, by libjpeg's rule."""
    table = {(0, 1): 11, (1, 0): 12, (1, 1): 12, (0, 2): 10, (2, 0): 14, (1, 2): 14, (2, 1): 13}
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    found = dict(zip(FREQUENCIES, steps(_coefficients(luma(compress(PHOTO, quality)) - 128)), strict=True))
    assert {f: found[f] for f in table} == {f: (value * scale + 50) // 100 for f, value in table.items()}


@pytest.mark.parametrize(("primary_gain", "last"), [(60, 90), (75, 92), (60, 98)])
def test_the_network_s_traces_are_those_of_jpeg_grid(primary_gain, last):
    picture = compress(paste(PHOTO, compress(PHOTO, primary_gain)), last)
    image = jnp.asarray(normalize(picture))[None]
    traces = np.asarray(block_traces(image, filter_patches(image, cosine_transform())[..., :64]))[0]
    found = of_picture(picture)
    single_llr, off_grid_llr, counted = (e.reshape(traces.shape[:2]) for e in found[:3])
    expected = [3 * np.tanh(single_llr / 12), 3 * np.tanh(off_grid_llr / 12)]
    for channel, scale in ((0, 1), (1, 4)):  # from the network's own
        own = 12 * np.arctanh(traces[..., channel].astype(float) / 3)
        smooth = cv2.GaussianBlur(own, (13, 13), 2, borderType=cv2.BORDER_REPLICATE)
        expected.append(3 * np.tanh(smooth / scale))
    plain = (np.full_like(single_llr, np.log1p(100 * max(e, 0)) / 2) for e in (found.primary_gain, found.off_grid_gain))
    expected += [np.log1p(counted), *plain]
    # In float32, a coefficient half way between two multiples may be counted with the other.
    assert np.mean(np.abs(traces - np.stack(expected, -1)) <= 0.05) > 0.995
    assert (
        np.abs(single_llr).max() > 1 if last < 98 else np.abs(off_grid_llr).max() > 1
    )  # and there is something to see


def test_a_former_compression_shows_whatever_its_table():
    # The bounds are beyond what the standard tables alone, or steps chosen one by one, explain.
    assert of_picture(compress(compress(PHOTO, 75, flatness=0.6), 92)).primary_gain > 2.1
    assert of_picture(compress(compress(PHOTO[128:, 256:], 90), 85)).primary_gain > 4 * MIN_GAIN


@pytest.mark.parametrize(("primary_gain", "last"), [(92, 80), (90, 75), (88, 80)])
def test_smooth_blocks_do_not_count_as_compressed_once(primary_gain, last):
    half = PHOTO.copy()
    half[:, 192:] = cv2.GaussianBlur(PHOTO, (0, 0), 4)[:, 192:]
    picture = compress(compress(half, primary_gain), last)
    assert of_picture(picture).primary_gain > MIN_GAIN
    assert (jpeg_grid(picture) > 0.5).mean() < 0.05


def test_blocks_with_clipped_pixels_do_not_count_as_off_the_step():
    bright = PHOTO.copy()
    bright[64:128, 64:192] = np.minimum(bright[64:128, 64:192].astype(int) * 3, 255)
    picture = compress(bright, 60)
    clipped = ((picture == 0) | (picture == 255)).reshape(32, 8, 48, 24).any((1, 3)).ravel()
    coefficients = [_coefficients(luma(part) - 128) for part in (picture, picture[4:, 4:])]
    assert (estimate_double_compression(*coefficients, np.zeros_like(clipped)).off_grid_llr[clipped] > 0).mean() > 0.3
    assert (of_picture(picture).off_grid_llr[clipped] == 0).all()
    assert not (jpeg_grid(picture) > 0.5).any()


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("shape", [(4, 4), (5, 7), (4, 90), (37, 53), (101, 64)])
def test_any_size_gives_probabilities(detector, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for picture in (image, compress(image, 70)):
        before = picture.copy()
        out = detector(picture)
        assert out.shape == shape
        assert out.dtype == np.float32
        assert out.min() >= 0
        assert out.max() <= 1
        np.testing.assert_array_equal(picture, before)
        np.testing.assert_array_equal(out, detector(picture))


@pytest.mark.parametrize("detector", DETECTORS[1:])
@pytest.mark.parametrize("level", [0, 77, 255])
@pytest.mark.parametrize("shape", [(4, 4), (64, 64)])
def test_a_constant_picture_is_not_marked(detector, level, shape):
    out = detector(np.full((*shape, 3), level, np.uint8))
    assert np.isfinite(out).all()
    assert out.max() < 0.5


def test_everything_is_everything():
    assert everything(PHOTO).min() == 1


def pasted_elsewhere(image, scale=1.0, angle=0.0):
    """A photo of which a disk occurs twice, and both disks."""
    H, W = image.shape[:2]
    y, x = np.mgrid[:H, :W]
    first = np.hypot(x - 0.3 * W, y - 0.5 * H) < 0.14 * W
    affine = cv2.getRotationMatrix2D((0.3 * W, 0.5 * H), angle, scale)
    affine[:, 2] += (0.42 * W, 0.02 * H)
    moved = cv2.warpAffine(image, affine, (W, H), flags=cv2.INTER_CUBIC)
    second = cv2.warpAffine(first.astype(np.uint8), affine, (W, H)) > 0
    return np.where(second[..., None], moved, image), first | second, affine


@pytest.mark.parametrize(
    ("scale", "angle", "quality"),
    [(1.0, 0.0, None), (0.8, 0.0, None), (1.0, 30.0, None), (1.2, 10.0, None), (1, 0, 80)],
)
def test_copies_are_found_turned_scaled_and_compressed(scale, angle, quality):
    photo = cv2.resize(load_source("installed:validation")[0]["image"], (480, 320), interpolation=cv2.INTER_AREA)
    forged, truth, affine = pasted_elsewhere(photo, scale, angle)
    forged = forged if quality is None else compress(forged, quality)
    assert not copies(photo).any()
    found = find_copies(forged)
    assert len(found) == 1
    assert score(copies(forged), truth)["f1"] > 0.85
    corners = np.array([[100, 120], [190, 200]], np.float32)
    there = apply(affine, corners)
    back = apply(cv2.invertAffineTransform(affine), corners)
    reached = apply(found[0].affine, corners)
    assert min(np.abs(reached - there).max(), np.abs(reached - back).max()) < 3
    np.testing.assert_array_equal(copies(forged), copies(forged))


def test_what_repeats_itself_is_no_copy():
    """Letters of a page, and a tiled texture: everywhere the same."""
    page = np.full((300, 400, 3), 250, np.uint8)
    for row in range(30, 300, 40):
        cv2.putText(page, "the same words again", (10, row), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (20, 20, 20), 2)
    assert is_drawing(page)
    assert not copies(page).any()
    assert not is_drawing(PHOTO)
    rng = np.random.default_rng(0)
    tile = cv2.GaussianBlur(rng.integers(0, 256, (32, 32, 3), np.uint8), (0, 0), 1.5)
    assert not copies(np.tile(tile, (10, 12, 1))).any()


@pytest.mark.parametrize("shape", [(1, 1), (4, 300), (17, 5)])
def test_copies_takes_any_size(shape):
    out = copies(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8))
    assert out.shape == shape
    assert out.dtype == np.float32
