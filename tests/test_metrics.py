"""Scores against their definitions, recorded numbers of others' toolkits, and scikit-learn's."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from pimjax.metrics.bootstrap import bootstrap_interval, paired_difference
from pimjax.metrics.conventions import CONVENTIONS, detection, image_score, score, score_images
from pimjax.metrics.curves import average_precision, best_f1, curve, equal_error_rate, roc_auc
from pimjax.metrics.pooled import Pooled, calibration_error, pool
from pimjax.training.validation import summarize

REFERENCE = Path(__file__).parent / "reference"

RNG = np.random.default_rng(0)


def test_counts_by_hand():
    prediction = np.array([[0.9, 0.9, 0.2, 0.2]])
    truth = np.array([[1, 0, 1, 0]])
    values = score(prediction, truth)
    assert values["f1"] == pytest.approx(0.5, abs=1e-6)
    assert values["iou"] == pytest.approx(1 / 3, abs=1e-6)
    assert values["mcc"] == pytest.approx(0, abs=1e-6)
    assert values["accuracy"] == 0.5


def test_the_threshold_is_strict():
    assert score(np.full((2, 2), 0.5), np.ones((2, 2)))["f1"] == 0


def test_an_authentic_image_left_unmarked_scores_one():
    empty = np.zeros((3, 3))
    assert set(score(empty, empty).values()) == {1.0}
    assert score(np.eye(3), empty)["f1"] == 0


def test_means_are_over_images_not_pixels():
    truth = np.zeros((2, 4, 4), int)
    truth[0, 0, 0] = 1
    truth[1] = 1
    prediction = np.stack([np.zeros((4, 4)), np.ones((4, 4))])
    assert score(prediction, truth)["f1"] == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_allclose(score_images(prediction, truth)["f1"], [0, 1], atol=1e-6)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_auc_counts_ties_half(levels):
    scores, truth = RNG.integers(0, levels, 60), RNG.integers(0, 2, 60)
    pairs = [np.sign(p - n) / 2 + 0.5 for p in scores[truth == 1] for n in scores[truth == 0]]
    assert roc_auc(scores, truth) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_auc_of_one_class_is_undefined_and_counted():
    assert np.isnan(roc_auc(np.arange(4), np.ones(4)))
    truth = np.zeros((3, 4, 4), int)
    truth[:2, :2] = 1
    rows = {row["metric"]: row for row in summarize(RNG.random((3, 4, 4)), truth)}
    assert (rows["auc"]["images"], rows["auc"]["undefined"]) == (2, 1)
    assert (rows["f1"]["images"], rows["f1"]["undefined"]) == (3, 0)
    assert rows["f1"]["low"] <= rows["f1"]["mean"] <= rows["f1"]["high"]
    assert rows["f1"]["mark_everything"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3, abs=1e-6)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        low, high = bootstrap_interval(np.random.default_rng(seed).normal(3, 1, 50), resamples=400)
        hits += low < 3 < high
    assert 175 <= hits <= 200


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="must both be"):
        score(np.zeros((2, 2)), np.zeros((2, 3)))
    for wrong in (np.nan, 1.2, -0.1, 255):
        with pytest.raises(ValueError, match=r"probabilities, 0\.\.1"):
            score(np.full((2, 2), wrong), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="unknown convention 'bench'; known: 'pim', "):
        score(np.zeros((2, 2)), np.zeros((2, 2)), convention="bench")
    with pytest.raises(ValueError, match="empty"):
        score(np.zeros((0, 2)), np.zeros((0, 2)))


@pytest.fixture(scope="module")
def peers():
    return dict(np.load(REFERENCE / "metrics_peers.npz"))


def test_pim_fullsize_as_recorded():
    recorded = np.load(REFERENCE / "metrics.npz")
    chosen = recorded["eightbit_index"]
    scores = score_images(recorded["prediction"][chosen], recorded["ground_truth"][chosen], 0.5, "pim-fullsize")
    expected = recorded["eightbit_f1_mcc_iou_auc"].T
    for name, values in zip(("f1", "mcc", "iou"), expected, strict=False):
        np.testing.assert_allclose(scores[name], values, atol=1e-6)
    np.testing.assert_allclose(scores["auc"], expected[3], atol=1e-4)


@pytest.mark.parametrize("variant", ["origin", "reverse", "double"])
def test_benco_as_its_toolkit_computes_it(peers, variant):
    convention = "benco" if variant == "origin" else f"benco-{variant}"
    scores = score_images(peers["prediction"], peers["ground_truth"], 0.5, convention)
    for name, tolerance in (("f1", 1e-6), ("iou", 1e-6), ("auc", 1e-4)):
        np.testing.assert_allclose(scores[name], peers[f"benco_{name}_{variant}"], atol=tolerance)


def test_permuted_as_its_toolkit_computes_it(peers):
    scores = score_images(peers["prediction"], peers["ground_truth"], 0.5, "permuted")
    np.testing.assert_allclose(scores["best_f1"], peers["permuted_best_and_fixed_f1"][:, 0], atol=1e-6)
    np.testing.assert_allclose(scores["f1"], peers["permuted_best_and_fixed_f1"][:, 1], atol=1e-6)


def test_what_each_convention_makes_of_an_authentic_image():
    truth = np.zeros((2, 40, 40), bool)
    truth[1, 5:35, 5:35] = True
    unmarked = np.zeros((2, 40, 40), np.float32)
    f1 = {name: score_images(unmarked, truth, 0.5, name)["f1"][0] for name in CONVENTIONS}
    assert f1["pim"] == 1
    assert f1["benco"] == f1["benco-reverse"] == f1["benco-double"] == 0
    assert np.isnan([f1["pim-fullsize"], f1["permuted"]]).all()
    # A mean is over the images that have a score.
    assert score(truth.astype(float), truth, "pim-fullsize")["f1"] == pytest.approx(1)
    assert np.isnan(score(unmarked[:1], truth[:1], "permuted")["f1"])


def test_permuted_leaves_out_the_edge_and_what_has_no_middle():
    truth = np.zeros((60, 60), bool)
    truth[10:50, 10:50] = True
    off_by_three = np.roll(truth, 3, 1).astype(np.float32)
    assert score(off_by_three, truth, "permuted")["f1"] == 1 > score(off_by_three, truth, "pim")["f1"]
    assert score(1 - off_by_three, truth, "permuted")["f1"] == 1
    thin = np.zeros((60, 60), bool)
    thin[:, 20:30] = True
    assert np.isnan(score(off_by_three, thin, "permuted")["f1"])


def test_pim_fullsize_floors_and_enlarges():
    truth = np.zeros((8, 8), bool)
    truth[:, 4:] = True
    small = np.array([[0.0, 0.5019], [0.0, 0.5019]])  # 127.98 of 255: floored to 127, which is not above a half
    assert score(small, truth, "pim-fullsize")["f1"] == 0
    assert score(small + 0.0001, truth, "pim-fullsize")["f1"] > 0
    assert score(small, truth, "pim-fullsize")["auc"] > 0.99


@pytest.mark.parametrize("levels", [2, 7, 256, 10**6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_curves_agree_with_scikit_learn(levels, dtype):
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, levels, 3000) / levels
    truth = rng.random(3000) < 0.1 + 0.5 * scores
    scores = (scores * 255 if dtype == np.uint8 else scores).astype(dtype)
    c = curve(scores, truth)
    assert roc_auc(scores, truth) == pytest.approx(sklearn.metrics.roc_auc_score(truth, scores), abs=1e-12)
    assert average_precision(c) == pytest.approx(sklearn.metrics.average_precision_score(truth, scores), abs=1e-12)
    p, r, _ = sklearn.metrics.precision_recall_curve(truth, scores)
    f1 = 2 * p[:-1] * r[:-1] / np.maximum(p[:-1] + r[:-1], 1e-12)
    best, threshold = best_f1(c)
    assert best == pytest.approx(f1.max(), abs=1e-12)
    assert sklearn.metrics.f1_score(truth, scores >= dtype(threshold)) == pytest.approx(best, abs=1e-12)
    fpr, tpr, _ = sklearn.metrics.roc_curve(truth, scores, drop_intermediate=False)
    # Where the ROC curve crosses the falling diagonal.
    assert equal_error_rate(c) == pytest.approx(np.interp(0, fpr + tpr - 1, fpr), abs=1e-12)


def test_areas_of_very_many_pixels():
    histogram = np.zeros((2, 256), np.int64)
    histogram[:, 10], histogram[:, 200] = (8 * 10**13, 10**12), (2 * 10**13, 9 * 10**12)
    assert Pooled(histogram[:, [200, 10]].T.ravel(), histogram).scores()["auc"] == pytest.approx(
        0.9 * 0.8 + 0.5 * (0.18 + 0.08)
    )


def test_negative_scores_are_ranked_too():
    scores = RNG.normal(size=500).astype(np.float32)
    truth = scores + RNG.normal(size=500) > 0
    assert roc_auc(scores, truth) == pytest.approx(sklearn.metrics.roc_auc_score(truth, scores), abs=1e-12)


def test_ratios_agree_with_scikit_learn():
    prediction, truth = 0.9 * RNG.random((40, 50)), RNG.random((40, 50)) < 0.3
    positive = (prediction > 0.6).ravel()
    pooled = score(prediction, truth, "pooled", 0.6)
    assert pooled["f1"] == pytest.approx(sklearn.metrics.f1_score(truth.ravel(), positive), abs=1e-6)
    assert pooled["mcc"] == pytest.approx(sklearn.metrics.matthews_corrcoef(truth.ravel(), positive), abs=1e-6)
    assert pooled["precision"] == pytest.approx(sklearn.metrics.precision_score(truth.ravel(), positive), abs=1e-6)
    assert pooled["recall"] == pytest.approx(sklearn.metrics.recall_score(truth.ravel(), positive), abs=1e-6)
    levels = np.rint(prediction * 255).ravel()
    assert pooled["auc"] == pytest.approx(sklearn.metrics.roc_auc_score(truth.ravel(), levels), abs=1e-12)
    expected = sklearn.metrics.average_precision_score(truth.ravel(), levels)
    assert pooled["average_precision"] == pytest.approx(expected, abs=1e-12)


def test_pooling_parts_in_any_order_equals_pooling_all():
    prediction, truth = RNG.random((7, 33, 21)).astype(np.float32), RNG.random((7, 33, 21)) < 0.2
    whole = pool(prediction, truth)
    images = [pool(p, t) for p, t in zip(prediction, truth, strict=True)]
    tiles = [pool(prediction[..., k::5], truth[..., k::5]) for k in range(5)]
    nothing = Pooled(np.zeros(4, np.int64), np.zeros((2, 256), np.int64))
    for parts in (images, images[::-1], tiles):
        total = sum(parts, nothing)
        assert (total.confusion == whole.confusion).all() and (total.histogram == whole.histogram).all()
        assert total.scores() == whole.scores()
    assert whole.confusion.sum() == whole.histogram.sum() == truth.size


def test_without_positives_only_false_alarms_are_defined():
    pooled = score(RNG.random((20, 20)), np.zeros((20, 20)), "pooled")
    assert np.isnan([pooled[name] for name in ("f1", "iou", "mcc", "precision", "recall", "auc", "best_f1")]).all()
    assert 0.4 < pooled["accuracy"] < 0.6 and 0.4 < pooled["calibration_error"] < 0.6


def test_calibration_is_of_what_is_said_against_what_is():
    said = RNG.random(400_000)
    honest = pool(said, RNG.random(400_000) < said).histogram
    assert calibration_error(honest) < 0.005
    boastful = pool(said, RNG.random(400_000) < said / 2).histogram
    assert calibration_error(boastful) == pytest.approx(0.25, abs=0.005)


def test_images_are_told_apart():
    scores = np.array([0.9, 0.8, 0.4, 0.7, 0.2, 0.1])
    manipulated = np.array([1, 1, 1, 0, 0, 0], bool)
    found = detection(scores, manipulated)
    assert found["auc"] == pytest.approx(8 / 9)
    assert found["equal_error_rate"] == pytest.approx(1 / 3)
    assert found["balanced_accuracy"] == pytest.approx(2 / 3)
    assert found["fpr"] == pytest.approx(1 / 3)
    assert found["f1"] == pytest.approx(2 / 3)
    alone = detection(scores[3:], manipulated[3:])
    assert alone["fpr"] == pytest.approx(1 / 3)
    assert np.isnan([alone[name] for name in ("auc", "f1", "balanced_accuracy", "equal_error_rate")]).all()


def test_an_image_is_scored_by_its_map():
    map_ = np.full((20, 20), 0.1)
    map_[0, :4] = [0.5, 0.7, 0.9, 0.3]
    assert image_score(map_) == 0.9
    assert image_score(map_, "top1") == pytest.approx(0.6)
    assert image_score(np.full((5, 5), 0.3), "logit") == pytest.approx(0.3)
    with pytest.raises(ValueError, match="'max', 'top1', 'logit'"):
        image_score(map_, "mean")


def test_paired_differences():
    rng = np.random.default_rng(5)
    hard = rng.random(60)  # images differ far more than models do: only a paired test can see the difference
    better, worse = hard + 0.02 + 0.02 * rng.normal(size=60), hard + 0.02 * rng.normal(size=60)
    found = paired_difference(better, worse)
    assert found.p < 0.001 and found.low > 0 and found.mean == pytest.approx((better - worse).mean())
    turned = paired_difference(worse, better)
    assert (turned.mean, turned.p) == (-found.mean, pytest.approx(found.p, rel=0.9))
    same = [paired_difference(*rng.normal(size=(2, 30)), seed=k, resamples=300).p for k in range(100)]
    assert 1 <= sum(p < 0.05 for p in same) <= 13  # one in twenty, as it says
    with_gaps = paired_difference(np.append(better, np.nan), np.append(worse, 1))
    assert with_gaps.images == 60
    assert paired_difference(np.ones(5), np.ones(5)).p == 1
    assert np.isnan(bootstrap_interval(np.array([]))).all()
