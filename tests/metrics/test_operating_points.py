"""Operating points by hand, and against a plain loop over the thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.metrics.operating_points import Texts, draw_curve, largest_good_rate, weighted_auc


def texts(errors, words=10, weights=1.0):
    errors = np.array(errors)
    return Texts(errors, np.full(len(errors), words), np.broadcast_to(np.asarray(weights, float), errors.shape))


def test_the_points_of_four_texts():
    curve = draw_curve(np.array([0.9, 0.2, 0.5, 0.5]), np.array([True, False, True, False]), texts([0, 8, 0, 4]))
    assert curve.thresholds.tolist() == [0.9, 0.5, 0.2]
    assert curve.kept.tolist() == [0.25, 0.75, 1.0]
    assert curve.precision.tolist() == pytest.approx([1.0, 2 / 3, 0.5])
    assert curve.recall.tolist() == [0.5, 1.0, 1.0]
    assert curve.wer.tolist() == pytest.approx([0, 400 / 30, 30])


def test_a_plain_loop_finds_the_same():
    rng = np.random.default_rng(0)
    scores, good = rng.integers(0, 9, 50) / 8, rng.random(50) < 0.6
    t = Texts(rng.integers(0, 5, 50), rng.integers(5, 9, 50), rng.uniform(0, 2, 50))
    curve = draw_curve(scores, good, t)
    for i, threshold in enumerate(curve.thresholds):
        kept, w = scores >= threshold, t.weights
        assert curve.kept[i] == pytest.approx(w[kept].sum() / w.sum())
        assert curve.precision[i] == pytest.approx(w[kept & good].sum() / w[kept].sum())
        assert curve.recall[i] == pytest.approx(w[kept & good].sum() / w[good].sum())
        assert curve.wer[i] == pytest.approx(100 * (w * t.errors)[kept].sum() / (w * t.words)[kept].sum())
    assert curve.wer[-1] == pytest.approx(t.wer)


def test_the_point_that_keeps_most_below_a_rate():
    # the rate falls again after the second point
    curve = draw_curve(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True] * 4), texts([0, 4, 0, 8]))
    assert curve.wer.tolist() == pytest.approx([0, 20, 400 / 30, 30])
    assert curve.most_below(15) == 2 and curve.most_below(100) == 3
    # below, not at
    assert curve.most_below(400 / 30 - 1e-9) == 0 and curve.most_below(0) is None
    assert [curve.nearest_to(share) for share in (0, 0.3, 0.5, 1)] == [0, 0, 1, 3]


def test_good_are_texts_that_together_stay_below_the_rate():
    t = texts([0, 0, 0, 0, 1, 2, 9])
    # 1 / 50, 3 / 60, 12 / 70
    assert largest_good_rate(t, 1.9) == 0 and largest_good_rate(t, 2.1) == 10
    assert largest_good_rate(t, 5.0) == 10 and largest_good_rate(t, 5.1) == 20
    assert largest_good_rate(t, 50) == 90
    # texts with the same rate are good together, or not at all
    assert largest_good_rate(texts([0, 5, 5]), 20) == 0
    assert largest_good_rate(texts([0, 5, 5], weights=[9, 1, 1]), 20) == 50


def test_the_rate_of_an_empty_text_is_finite():
    t = Texts(np.array([0, 2]), np.array([0, 0]), np.ones(2))
    assert t.rates.tolist() == [0, 200] and np.isfinite(t.wer)
    assert largest_good_rate(t, 5) == 0


def test_auc():
    scores, good = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])
    assert weighted_auc(scores, good, np.ones(4)) == 3.5 / 4
    assert weighted_auc(-scores, good, np.ones(4)) == 0.5 / 4
    assert weighted_auc(scores, good, np.array([1, 3, 2, 1])) == pytest.approx((3 * (1 + 0.5 * 2) + 3) / 12)
    assert weighted_auc(scores, np.ones(4, bool), np.ones(4)) == 0.5
