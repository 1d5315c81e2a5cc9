"""Masks, perturbations and forgeries: pure functions that do what they say."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from pimjax.config import ForgeryConfig, MaskConfig, PerturbationConfig, PidaConfig
from pimjax.data import perturb
from pimjax.data.masks import boundary_band, random_mask, smooth_shape, superpixel_union, superpixels
from pimjax.data.pida import blend, forge, perturb_image, pida, post_process
from pimjax.data.registry import load_source

FAMILY = [field.name for field in dataclasses.fields(PerturbationConfig)]
CAT = load_source("installed:validation")[0]["image"][60:220, 120:300]
DONOR = load_source("installed:validation")[1]["image"][100:300, 200:460]
BLANK = np.zeros(CAT.shape[:2], np.uint8)


def example(mask=BLANK):
    return {"image": CAT, "mask": mask, "id": "cat", "skipped": ""}


@pytest.mark.parametrize("area", [0.01, 0.1, 0.4])
def test_smooth_shapes_have_the_area_asked_for(area):
    for seed in range(5):
        mask = smooth_shape(np.random.default_rng(seed), 90, 120, area)
        assert mask.mean() == pytest.approx(area, abs=1e-3)
        pieces = cv2.connectedComponents(mask.astype(np.uint8))[0] - 1
        assert pieces <= 12  # a blob or a few, not noise


@pytest.mark.parametrize("area", [0.02, 0.1, 0.4])
def test_superpixel_unions_are_connected_and_near_the_area(area):
    for seed in range(5):
        mask = superpixel_union(CAT, np.random.default_rng(seed), area)
        assert 0.4 * area < mask.mean() <= area + 0.006  # a single superpixel may be larger than a small area
        assert cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] == 2


def test_superpixels_follow_edges():
    image = np.zeros((80, 80, 3), np.uint8)
    image[:, 43:] = 255
    labels = superpixels(image, np.random.default_rng(0), cell=16)
    assert labels.min() == 0
    both = np.intersect1d(labels[:, :41], labels[:, 46:])
    assert len(both) == 0
    assert len(np.unique(labels)) == 25


def test_mask_kinds_and_areas_come_from_the_configuration():
    config = MaskConfig(smooth=0, superpixels=1, min_area=0.2, max_area=0.2)
    assert random_mask(example(), np.random.default_rng(0), config)[1] == "superpixels"
    config = MaskConfig(superpixels=0, min_area=0.05, max_area=0.1)
    areas = [random_mask(example(), np.random.default_rng(i), config)[0].mean() for i in range(20)]
    assert 0.045 < min(areas) < 0.065
    assert 0.085 < max(areas) < 0.105


@pytest.mark.parametrize("width", [2, 8, 12])
def test_boundary_is_a_thin_band_on_the_edge(width):
    mask = np.zeros((60, 60), bool)
    mask[:, 30:] = True
    columns = np.flatnonzero(boundary_band(mask, width)[30])
    assert columns.tolist() == list(range(30 - width // 2, 30 + width // 2))


def test_boundary_of_nothing_and_of_everything_is_empty():
    for mask in (np.zeros((9, 9), bool), np.ones((9, 9), bool)):
        assert not boundary_band(mask, 4).any()


@pytest.mark.parametrize("name", FAMILY)
def test_each_perturbation_keeps_the_content_and_changes_the_pixels(name):
    for seed in range(8):
        out, parameters = getattr(perturb, name)(CAT, np.random.default_rng(seed))
        assert out.dtype == np.uint8
        assert out.shape == CAT.shape
        assert (out != CAT).mean() > 0.2
        # Noise of 25 levels in a photo of deviation 50 leaves a correlation of 0.89; of tone, the luma is what stays.
        luma = [image @ (0.299, 0.587, 0.114) for image in (out, CAT)]
        assert np.corrcoef(luma[0].ravel(), luma[1].ravel())[0, 1] > 0.85
        assert parameters
        again, _ = getattr(perturb, name)(CAT, np.random.default_rng(seed))
        np.testing.assert_array_equal(out, again)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("shape", [(4, 4), (5, 31)])
def test_perturbations_take_any_size(name, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    out, _ = getattr(perturb, name)(image, np.random.default_rng(1))
    assert out.shape == image.shape


def test_jpeg_shift_moves_the_block_grid():
    """The strongest steps between columns lie where the shifted 8×8 grid says."""
    smooth = cv2.GaussianBlur(CAT, (0, 0), 3)
    for dx in (0, 3):
        out = perturb.compress(smooth, quality=10, dx=dx).astype(float)
        steps = np.abs(np.diff(out, axis=1)).mean((0, 2))
        by_phase = [steps[phase::8].mean() for phase in range(8)]
        assert np.argmax(by_phase) == (7 - dx) % 8


@pytest.mark.parametrize("seed", range(8))
def test_remosaicing_keeps_every_sampled_value(seed):
    """Bilinear demosaicing leaves the one color that each Bayer pixel recorded as it was."""
    out, parameters = perturb.remosaic(CAT, np.random.default_rng(seed))
    y, x = parameters["phase_y"], parameters["phase_x"]
    inner = (slice(4, -4), slice(4, -4))
    red = np.zeros(CAT.shape[:2], bool)
    red[y::2, x::2] = True
    np.testing.assert_array_equal(out[inner][red[inner]][:, 0], CAT[inner][red[inner]][:, 0])
    blue = np.roll(red, (1, 1), (0, 1))
    np.testing.assert_array_equal(out[inner][blue[inner]][:, 2], CAT[inner][blue[inner]][:, 2])


def interpolation_residuals(channel):
    """How badly each pixel of one of the four Bayer phases follows from its eight neighbors: [2, 2].

    The weights are a least-squares fit of the phase's own, as in Popescu and Farid, "Exposing digital forgeries in
    color filter array interpolated images", IEEE TSP 2005. Interpolated pixels follow, sampled ones do not.
    """
    H, W = (n - n % 2 for n in channel.shape)
    around = np.pad(channel[:H, :W].astype(float), 1, mode="reflect")
    residuals = np.empty((2, 2))
    for y, x in np.ndindex(2, 2):
        phase = [
            around[1 + y + dy : 1 + y + dy + H - 1 : 2, 1 + x + dx : 1 + x + dx + W - 1 : 2][2:-2, 2:-2].ravel()
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        ]
        neighbors, center = np.stack(phase[:4] + phase[5:], axis=1), phase[4]
        weights = np.linalg.lstsq(neighbors, center, rcond=None)[0]
        residuals[y, x] = np.mean((neighbors @ weights - center) ** 2)
    return residuals


@pytest.mark.parametrize("number", [0, 1])
def test_remosaicing_leaves_the_trace_of_a_color_filter_array(number):
    """Green is sampled on a chequerboard: which of its two halves was interpolated shows, and before there is no trace.

    Red is sampled at one phase of four, the one that follows worst from its neighbors.
    """
    image = load_source("installed:validation")[number]["image"]

    def green_ratio(image):
        residuals = interpolation_residuals(image[..., 1])
        return np.trace(residuals) / np.trace(residuals[::-1])

    assert 0.9 < green_ratio(image) < 1.1
    seen = set()
    for seed in range(12):
        out, parameters = perturb.remosaic(image, np.random.default_rng(seed))
        y, x = phase = parameters["phase_y"], parameters["phase_x"]
        ratio = green_ratio(out)
        assert (ratio < 0.6) if y == x else (ratio > 1 / 0.6)
        red = interpolation_residuals(out[..., 0])
        assert np.unravel_index(red.argmax(), (2, 2)) == phase
        assert red.max() > 1.5 * np.sort(red, axis=None)[-2]
        seen.add((*phase, parameters["edge_aware"]))
    assert len({phase[:2] for phase in seen}) == 4


def test_noise_has_its_deviation():
    gray = np.full((200, 200, 3), 128, np.uint8)
    out, parameters = perturb.noise(gray, np.random.default_rng(3))
    assert out.astype(float).std() == pytest.approx(parameters["deviation"], rel=0.05)


def test_blend_is_the_formula():
    mask = np.zeros(CAT.shape[:2], bool)
    mask[40:80, 40:90] = True
    other = 255 - CAT
    hard = blend(CAT, other, mask)
    np.testing.assert_array_equal(hard[mask], other[mask])
    np.testing.assert_array_equal(hard[~mask], CAT[~mask])
    soft = blend(CAT, other, mask, softness=2.0).astype(float)
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2.0)[..., None]
    np.testing.assert_allclose(soft, alpha * other + (1 - alpha) * CAT, atol=0.51)


CLASSICAL = ("splicing", "copy_move", "removal")


def only(kind, **others):
    """Forgeries of one kind, hard-edged and without after-steps."""
    kinds = ForgeryConfig(**{name: float(name == kind) for name in ("pida", *CLASSICAL)})
    return PidaConfig(after_jpeg=0, kinds=kinds, masks=MaskConfig(soft_edge=0), **others)


class OneDonor:
    """Gives one photograph, and lends a mask where it is given one."""

    def __init__(self, labels=None):
        self.lend = labels is not None
        self.labels = lambda rng: labels

    def photograph(self, rng):
        return {"image": DONOR, "mask": np.zeros(DONOR.shape[:2], np.uint8), "id": "donor"}


@pytest.mark.parametrize("kind", ["pida", *CLASSICAL])
def test_a_forgery_differs_only_under_its_mask(kind):
    made = set()
    for seed in range(16):
        forged = forge(example(), np.random.default_rng(seed), only(kind), OneDonor())
        inside = forged["mask"] == 255
        np.testing.assert_array_equal(forged["image"][~inside], CAT[~inside])
        assert (forged["image"][inside] != CAT[inside]).any()
        assert set(np.unique(forged["mask"])) == {0, 255}
        made.add(json.loads(forged["recipe"])["kind"])
    # A region that finds no place becomes a perturbation, now and then.
    assert made <= {*FAMILY, kind}
    assert kind == "pida" or kind in made


def pasted_parts(kind):
    """Host pixels and recipe of forgeries by an unscaled, unturned, uncorrected paste."""
    for seed in range(150):
        forged = forge(example(), np.random.default_rng(seed), only(kind), OneDonor())
        recipe = json.loads(forged["recipe"])
        if recipe["kind"] == kind and (recipe["scale"], recipe["angle"], recipe["match"]) == (1, 0, 0):
            yield forged


@pytest.mark.parametrize(("kind", "donor"), [("splicing", "donor"), ("copy_move", "cat")])
def test_what_is_pasted_comes_from_the_donor(kind, donor):
    whole = DONOR if donor == "donor" else CAT
    found = 0
    for forged in pasted_parts(kind):
        y, x = (int(np.mean(axis)) for axis in np.nonzero(forged["mask"]))
        if not (forged["mask"][y - 3 : y + 4, x - 3 : x + 4] == 255).all() or min(y, x) < 3:
            continue
        patch = forged["image"][y - 3 : y + 4, x - 3 : x + 4]
        assert cv2.matchTemplate(whole, patch, cv2.TM_SQDIFF).min() < 10  # rounding; another patch is thousands away
        found += 1
    assert found >= 2


def test_copy_moves_do_not_stay_where_they_are():
    for forged in pasted_parts("copy_move"):
        assert (forged["image"] != CAT).any(-1)[forged["mask"] == 255].mean() > 0.5


def test_removal_makes_the_region_smoother():
    """A region painted over from around holds less detail than the photograph did."""
    detail = lambda image, where: np.abs(cv2.Laplacian(image, cv2.CV_32F)).mean(-1)[where].mean()  # noqa: E731
    smoother = []
    for seed in range(20):
        forged = forge(example(), np.random.default_rng(seed), only("removal"), None)
        if json.loads(forged["recipe"])["deviation"] == 0:
            inner = cv2.erode(forged["mask"], np.ones((5, 5))) == 255
            smoother.append(detail(forged["image"], inner) < 0.6 * detail(CAT, inner))
    assert len(smoother) > 5
    assert np.mean(smoother) > 0.8


def test_the_only_photograph_is_not_spliced_with_itself():
    donors = OneDonor()
    donors.photograph = lambda rng: example()
    kinds = {
        json.loads(forge(example(), np.random.default_rng(i), only("splicing"), donors)["recipe"])["kind"]
        for i in range(12)
    }
    assert "splicing" not in kinds
    assert "copy_move" in kinds


@pytest.mark.parametrize("shape", [(4, 4), (5, 7), (4, 60)])
def test_tiny_photographs_are_forged_but_never_all_over(shape):
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    tiny = {"image": photo, "mask": np.zeros(shape, np.uint8), "id": "tiny"}
    config = PidaConfig(after_resize=0.5, kinds=ForgeryConfig(1, 1, 1, 1))
    for seed in range(60):
        mask = forge(tiny, np.random.default_rng(seed), config, OneDonor())["mask"]
        assert mask.any()
        assert not mask.all()


def test_masks_from_segments_are_connected_pieces_of_one_label():
    labels = np.zeros(CAT.shape[:2], np.int32)
    labels[:, 60:] = 3
    labels[100:140, 20:50] = 3  # unconnected with the other 3
    labels[:4, :4] = 9  # too small
    config = MaskConfig(smooth=0, superpixels=0, borrowed=0, min_area=0.02, max_area=0.6)
    areas = set()
    for seed in range(40):
        mask, kind = random_mask(example() | {"segments": labels}, np.random.default_rng(seed), config)
        assert kind == "segments"
        assert len(np.unique(labels[mask])) == 1
        assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2
        areas.add(int(mask.sum()))
    assert areas == {40 * 30, 60 * 160 - 40 * 30 - 16}  # the pieces of 3 and 0 whose area is within bounds


def test_masks_are_borrowed_from_other_photographs():
    config = MaskConfig(smooth=1, superpixels=0, segments=0, borrowed=1e9)
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 30:60] = 255
    borrowed, kind = random_mask(example(), np.random.default_rng(0), config, OneDonor(mask // 255))
    assert kind == "borrowed"
    np.testing.assert_array_equal(borrowed, cv2.resize(mask, CAT.shape[1::-1], interpolation=cv2.INTER_NEAREST) == 255)
    for lends_nothing in (None, OneDonor()):
        assert random_mask(example(), np.random.default_rng(0), config, lends_nothing)[1] == "smooth"


def test_many_forgeries_keep_their_promises():
    """None empty or full, areas within bounds, authentic pixels untouched beyond a soft edge's reach."""
    config = PidaConfig(after_jpeg=0, kinds=ForgeryConfig(1, 1, 1, 1))
    areas, soft = [], 0
    for seed in range(150):
        forged = forge(example(), np.random.default_rng(seed), config, OneDonor())
        recipe = json.loads(forged["recipe"])
        mask = forged["mask"] == 255
        reach = mask
        if recipe["softness"]:
            soft += 1
            reach = cv2.dilate(forged["mask"], np.ones((17, 17), np.uint8)) == 255  # four deviations of up to 2
        np.testing.assert_array_equal(forged["image"][~reach], CAT[~reach])
        areas.append(mask.mean())
    assert 20 < soft < 60
    assert min(areas) > 0.005  # a single superpixel may be smaller than what it was drawn for
    assert max(areas) <= 0.41
    # Log-uniform: as many below the bounds' geometric mean as above.
    assert 0.35 < np.mean(np.array(areas) < np.sqrt(0.01 * 0.4)) < 0.65


def test_after_steps_reach_the_whole_picture_and_the_mask_follows():
    config = dataclasses.replace(only("pida"), after_resize=1.0, after_jpeg=1.0)
    rng = np.random.default_rng(1)
    forged = post_process(forge(example(), rng, config), rng, config)
    recipe = json.loads(forged["recipe"])
    H, W = (round(n * recipe["after_resize"]) for n in CAT.shape[:2])
    assert forged["image"].shape == (H, W, 3)
    assert forged["mask"].shape == (H, W)
    assert 70 <= recipe["after_quality"] <= 98


def test_authentic_samples_go_through_the_after_steps_too():
    """Or a picture's last compression would tell that it was forged."""
    config = PidaConfig(probability=0.0, after_resize=1.0, after_jpeg=1.0)
    rng = np.random.default_rng(1)
    out = post_process(pida(example(), rng, config), rng, config)
    recipe = json.loads(out["recipe"])
    assert {"after_resize", "after_quality"} < recipe.keys() and "kind" not in recipe and not out["mask"].any()
    assert out["image"].shape[:2] == out["mask"].shape == tuple(round(n * recipe["after_resize"]) for n in BLANK.shape)


def test_pida_forges_the_configured_share_and_leaves_forgeries_alone():
    config = PidaConfig(probability=0.3)
    kinds = [bool(pida(example(), np.random.default_rng(i), config)["mask"].any()) for i in range(300)]
    assert 0.2 < np.mean(kinds) < 0.4
    marked = BLANK.copy()
    marked[5:9, 5:9] = 255
    out = pida(example(marked), np.random.default_rng(0), PidaConfig(probability=1.0))
    assert out["image"] is CAT
    assert out["mask"] is marked
    assert not pida(example(), np.random.default_rng(0), PidaConfig(probability=0.0))["mask"].any()


def test_members_of_the_family_can_be_switched_off():
    only = PerturbationConfig(**{name: 0.0 for name in FAMILY} | {"gamma": 2.0})
    assert {perturb_image(CAT, np.random.default_rng(i), only)[1] for i in range(10)} == {"gamma"}


def test_forging_is_a_function_of_example_and_generator():
    a, b = (forge(example(), np.random.default_rng(7), PidaConfig()) for _ in range(2))
    np.testing.assert_array_equal(a["image"], b["image"])
    assert a["recipe"] == b["recipe"]
    np.testing.assert_array_equal(CAT, load_source("installed:validation")[0]["image"][60:220, 120:300])


@pytest.mark.parametrize("kind", ["jpeg", "blur", "gamma", "remosaic"])
def test_perturbing_a_part_gives_the_pixels_of_perturbing_the_whole(kind):
    """`forge` perturbs only the mask's surroundings. (Noise and resampling depend on the size of what they get.)"""
    config = PidaConfig(
        after_jpeg=0,
        masks=MaskConfig(min_area=0.02, max_area=0.1, soft_edge=0),
        perturbations=PerturbationConfig(**{name: float(name == kind) for name in FAMILY}),
    )
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rng.random(2)  # drawn before: the kind of forgery, and whether its edge is soft
        mask, _ = random_mask(example(), rng, config.masks)
        whole, _, _ = perturb_image(CAT, rng, config.perturbations)
        forged = forge(example(), np.random.default_rng(seed), config)["image"]
        np.testing.assert_array_equal(forged, blend(CAT, whole, mask))
