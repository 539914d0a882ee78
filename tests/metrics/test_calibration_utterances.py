"""Calibration of the confidences of utterances: known by construction, and by plain formulas."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.metrics.alignment import align_words
from ds2cli.metrics.calibration_utterances import UtteranceCalibration, utterance_confidence


def measure(confidences, pairs):
    calibration = UtteranceCalibration()
    refs, hyps = zip(*pairs, strict=True)
    calibration.add(align_words(refs, hyps).counts, np.array(confidences, float))
    return calibration


def test_every_bin_with_its_share_by_construction():
    pairs = [
        ("the cat", "the cat"),  # no errors
        ("the cat", "the hat"),  # 1 of 2 right
        ("the cat", "the cat sat on"),  # 2 of 4
        ("the cat sat", "the cat"),  # all that it says is right, but a word is missing
        ("", ""),  # rightly empty
        ("the", ""),  # wrongly empty
        ("", "été"),  # wrongly not empty
    ]
    calibration = measure([1.0, 0.5, 0.5, 0.9, 0.95, 0.05, 0.0], pairs)
    # AUC: 0.95 and 1 are above all others
    assert calibration.lines() == [
        "pred_conf   utterances    mean  correct",
        "0 to 0.1             2   0.025    0.000",
        "0.5 to 0.6           2   0.500    0.500",
        "0.9 to 1             3   0.950    1.000",
        "pred_conf: mean 55.7 %, 57.1 % of a hypothesis' words are correct, ECE 2.9 %; "
        "2 of 7 utterances have no errors, AUC 1.000",
    ]
    fields = calibration.as_fields()
    assert (fields["utterances"], fields["without_errors"], fields["auc"]) == (7, 2, 1.0)
    assert (fields["mean"], fields["share"]) == (pytest.approx(3.9 / 7), pytest.approx(4 / 7))
    assert fields["ece"] == pytest.approx((0.05 + 0 + 0.15) / 7)
    assert fields["bins"][1] == {"low": 0.5, "high": 0.6, "utterances": 2, "mean": 0.5, "share": 0.5}
    assert json.loads(json.dumps(fields)) == fields


def test_a_sure_utterance_with_errors_lowers_the_auc_and_ties_count_half():
    pairs = [("a", "a"), ("a", "b"), ("a", "b"), ("a", "a")]
    assert measure([0.9, 0.9, 0.2, 0.1], pairs).auc == pytest.approx((0.5 + 1 + 0 + 0) / 4)
    assert measure([0.9, 0.1], pairs[:1] * 2).auc is None
    assert measure([0.9, 0.1], pairs[1:2] * 2).summary().endswith("0 of 2 utterances have no errors, AUC -")


def test_the_measures_are_their_plain_formulas():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 3, (500, 4)) * rng.integers(0, 2, (500, 1))
    confidences = rng.beta(2, 1, 500).round(4)
    bins = np.minimum((confidences * 10 + 1e-9).astype(int), 9)
    shares, perfect = [], []
    for hits, subs, ins, dels in counts.tolist():
        words = hits + subs + ins
        shares.append(hits / words if words else float(hits + subs + dels == 0))
        perfect.append(subs + ins + dels == 0)
    shares, perfect = np.array(shares), np.array(perfect)
    gaps = [abs(confidences[bins == i].sum() - shares[bins == i].sum()) for i in {*bins.tolist()}]
    differences = confidences[perfect][:, None] - confidences[~perfect]
    together, parts = UtteranceCalibration(), UtteranceCalibration()
    together.add(counts, confidences)
    assert together.ece == pytest.approx(sum(gaps) / 500)
    assert together.auc == pytest.approx((differences > 0).mean() + 0.5 * (differences == 0).mean())
    assert (together.mean, together.share) == (pytest.approx(confidences.mean()), pytest.approx(shares.mean()))
    for begin, end in ((0, 0), (0, 1), (1, 300), (300, 500)):
        parts.add(counts[begin:end], confidences[begin:end])
    assert parts.lines() == together.lines()


def test_no_utterances():
    calibration = UtteranceCalibration()
    calibration.add(np.empty((0, 4), np.int64), np.empty(0))
    assert calibration.lines() == ["pred_conf: no utterances"]
    assert calibration.as_fields() == {
        "utterances": 0, "without_errors": 0, "mean": 0.0, "share": 0.0, "ece": 0.0, "auc": None, "bins": [],
    }  # fmt: skip


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.0001])
def test_what_is_no_confidence_is_refused(bad):
    with pytest.raises(DataError, match="expected 0 to 1"):
        measure([0.5, bad], [("a", "a"), ("a", "a")])
    with pytest.raises(DataError, match="u1: `pred_conf`: expected a number from 0 to 1"):
        utterance_confidence({"id": "u1", "pred_conf": bad})
    with pytest.raises(DataError, match="1 confidences of 2 utterances"):
        measure([0.5], [("a", "a"), ("a", "a")])


def test_the_confidence_of_a_row():
    assert utterance_confidence({"id": "u1", "pred_conf": 1}) == 1.0
    assert utterance_confidence({"id": "u1"}) is None
    for bad in (None, True, "0.5"):
        with pytest.raises(DataError, match="u1: `pred_conf`"):
            utterance_confidence({"id": "u1", "pred_conf": bad})
