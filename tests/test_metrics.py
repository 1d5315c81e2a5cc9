"""Scores against their definitions; the released model's own numbers are in test_parity.py."""

import numpy as np
import pytest

from pimjax.evaluation.metrics import bootstrap_interval, roc_auc, score, score_images, summarize

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
    with pytest.raises(ValueError, match="NaN"):
        score(np.full((2, 2), np.nan), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="unknown convention 'benco'"):
        score(np.zeros((2, 2)), np.zeros((2, 2)), convention="benco")
