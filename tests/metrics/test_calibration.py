"""Calibration of confidences: known by construction, by plain formulas, and by NIST's sclite."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.kernels.edit import DEL, HIT, INS, SUB
from ds2cli.metrics.calibration import Calibration, fit_scale, word_confidences

SCLITE = shutil.which("sclite") or "/usr/lib/sctk/bin/sclite"


def measure(confidences, right):
    calibration = Calibration()
    calibration.add_words(np.array(right, bool), np.array(confidences, float))
    return calibration


def sample(seed, words, scale=1.0):
    """Confidences, and words that are right with the probability confidence ** scale."""
    rng = np.random.default_rng(seed)
    confidences = rng.beta(3, 1, words).round(4)
    return confidences, rng.random(words) < confidences**scale


def test_calibrated_confidences_have_almost_no_error():
    confidences, right = sample(0, 200_000)
    calibration = measure(confidences, right)
    assert calibration.ece < 0.005
    assert calibration.nce > 0.1
    assert calibration.mean == pytest.approx(confidences.mean())
    assert measure(confidences**0.25, right).ece > 0.1


def test_every_bin_with_its_share_by_construction():
    confidences = [0.25] * 4 + [0.75] * 4 + [1.0] * 2
    right = [1, 0, 0, 0, 1, 1, 1, 0, 1, 1]
    calibration = measure(confidences, right)
    assert calibration.ece == pytest.approx(0, abs=1e-12)
    assert calibration.lines() == [
        "confidence      words     mean  correct",
        "0.2 to 0.3          4    0.250    0.250",
        "0.7 to 0.8          4    0.750    0.750",
        "0.9 to 1            2    1.000    1.000",
        f"confidence: mean 60.0 %, 60.0 % of 10 words are correct, ECE 0.0 %, NCE {calibration.nce:.3f}, AUC 0.833",
    ]
    fields = calibration.as_fields()
    assert (fields["words"], fields["correct"], fields["mean"]) == (10, 6, pytest.approx(0.6))
    assert fields["bins"][1] == {"low": 0.7, "high": 0.8, "words": 4, "correct": 3, "mean": 0.75}
    assert json.loads(json.dumps(fields)) == fields


@pytest.mark.parametrize("seed", range(5))
def test_the_measures_are_their_plain_formulas(seed):
    confidences, right = sample(seed, 400, 1.7)
    bins = np.minimum((confidences * 10 + 1e-9).astype(int), 9)
    ece = sum(
        (bins == i).mean() * abs(confidences[bins == i].mean() - right[bins == i].mean()) for i in {*bins.tolist()}
    )
    c, p = np.clip(confidences, 1e-7, 1 - 1e-7), right.mean()
    entropy = -np.where(right, np.log2(c), np.log2(1 - c)).mean()
    most = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    pairs = confidences[right][:, None] - confidences[~right]
    calibration = measure(confidences, right)
    assert calibration.ece == pytest.approx(ece, abs=1e-9)
    assert calibration.nce == pytest.approx(1 - entropy / most, abs=1e-9)
    assert calibration.auc == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean(), abs=1e-9)


def test_words_may_be_added_in_any_parts():
    confidences, right = sample(3, 300)
    together, parts = measure(confidences, right), Calibration()
    for begin, end in ((0, 0), (0, 1), (1, 100), (100, 300), (300, 300)):
        parts.add_words(right[begin:end], confidences[begin:end])
    assert parts.lines() == together.lines()


@pytest.mark.parametrize("kind", ["pairs", "steps"])
def test_hits_are_right_and_deletions_have_no_confidence(kind):
    pairs = [("a", "a"), ("b", None), ("c", "x"), (None, "y"), ("d", "d")]
    steps = pairs if kind == "pairs" else np.array([HIT, DEL, SUB, INS, HIT], np.uint8)
    calibration = Calibration()
    calibration.add(steps, [1.0, 0.0, 0.0, 1.0])
    assert (calibration.words, calibration.right, calibration.ece, calibration.auc) == (4, 2, 0.0, 1.0)
    assert calibration.nce == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(DataError, match="3 confidences of 4 words"):
        calibration.add(steps, [1.0, 0.0, 0.0])


def test_no_words():
    calibration = Calibration()
    calibration.add([("a", None)], [])
    calibration.add([], [])
    assert calibration.lines() == ["confidence: no words"]
    assert calibration.as_fields() == {
        "words": 0, "correct": 0, "mean": 0.0, "ece": 0.0, "nce": None, "auc": None, "bins": [],
    }  # fmt: skip


@pytest.mark.parametrize("right", [True, False])
def test_one_word_has_no_rank_and_no_entropy(right):
    calibration = measure([0.5], [right])
    assert (calibration.nce, calibration.auc, calibration.ece) == (None, None, 0.5)
    assert calibration.summary().endswith("of 1 words are correct, ECE 50.0 %, NCE -, AUC -")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.0001])
def test_what_is_no_confidence_is_refused(bad):
    with pytest.raises(DataError, match="expected 0 to 1"):
        measure([0.5, bad], [True, True])
    row = {"id": "u1", "pred_text": "a", "pred_words": [{"word": "a", "conf": bad}]}
    with pytest.raises(DataError, match=r"u1: `conf` of `pred_words`: expected a number from 0 to 1"):
        word_confidences(row)


@pytest.mark.parametrize("scale", [0.15, 1.0, 3.0])
def test_the_scale_is_found_that_the_words_were_made_with(scale):
    confidences, right = sample(1, 100_000, scale)
    found = fit_scale(np.log(confidences), right)
    assert found == pytest.approx(scale, rel=0.03)
    assert measure(confidences**found, right).ece < 0.01


def test_factors_are_not_scaled():
    rng = np.random.default_rng(2)
    logs, weights = -rng.exponential(3, 50_000), np.log(rng.uniform(0.5, 1, 50_000))
    right = rng.random(50_000) < np.exp(0.2 * logs + weights)
    assert fit_scale(logs, right, weights) == pytest.approx(0.2, rel=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_no_scale_of_a_fine_grid_is_better(seed):
    rng = np.random.default_rng(seed)
    logs, right = -rng.exponential(2, 40), rng.random(40) < 0.6

    def nce(scale):
        return measure(np.exp(scale * logs) * (1 - 1e-4), right).nce

    found = nce(fit_scale(logs, right))
    assert all(found >= nce(scale) - 1e-6 for scale in np.geomspace(0.01, 10, 300))


def test_extremes_of_the_scale():
    logs = np.array([-3.0, -2.0, 0.0, -math.inf])
    # the least sure words are the right ones
    assert fit_scale(logs, np.array([True, True, False, False])) == pytest.approx(0.01, rel=0.01)
    assert fit_scale(np.full(4, -0.01), np.array([True, False, False, False])) == pytest.approx(10, rel=0.01)
    assert math.isfinite(fit_scale(logs, np.array([True, True, True, False])))
    assert fit_scale(logs, np.ones(4, bool)) is None and fit_scale(logs, np.zeros(4, bool)) is None
    assert fit_scale(np.empty(0), np.empty(0, bool)) is None
    for bad in (math.nan, 0.1):
        with pytest.raises(DataError, match="logs of probabilities"):
            fit_scale(np.array([bad, -1.0]), np.array([True, False]))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"pred_text": "a  é", "pred_words": [{"word": "a", "conf": 1}, {"word": "é", "conf": 0.25}]}, [1.0, 0.25]),
        ({"pred_text": "", "pred_words": []}, []),
        ({"pred_text": "a b", "pred_words": [{"word": "a", "conf": 1.0}]}, None),
        ({"pred_text": "A", "pred_words": [{"word": "a", "conf": 1.0}]}, None),
        ({"pred_text": "a", "pred_words": [{"word": "a"}]}, None),
        ({"pred_text": "a", "pred_words": None}, None),
        ({"pred_text": "a"}, None),
        ({"pred_words": []}, None),
    ],
    ids=str,
)
def test_the_confidences_of_a_row(row, expected):
    assert word_confidences(row) == expected


@pytest.mark.skipif(not Path(SCLITE).exists(), reason="needs sclite (utils/install_sctk.sh)")
def test_nce_is_that_of_sclite(tmp_path):
    confidences, right = sample(7, 60, 0.5)
    confidences[:2], right[:4] = (1.0, 0.0), (False, True, True, True)
    words = [f"w{i}" if hit else f"x{i}" for i, hit in enumerate(right)]
    ctm = [f"u1 1 {i} 0.5 {word} {c:.4f}\n" for i, (word, c) in enumerate(zip(words, confidences, strict=True))]
    (tmp_path / "h.ctm").write_text("".join(ctm))
    reference = " ".join(f"w{i}" for i in range(len(words)))
    (tmp_path / "r.stm").write_text(f"u1 1 spk 0.0 {len(words)}.0 {reference}\n")
    command = [SCLITE, "-r", "r.stm", "stm", "-h", "h.ctm", "ctm", "-o", "sum", "stdout"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if "Sum/Avg" in line]
    assert f"{measure(confidences, right).nce:.3f}" == line.split("|")[-2].strip()
