"""Verdicts on trainings whose outcome is known."""

from __future__ import annotations

import math

import pytest

from ds2cli.metrics.alignment import count
from ds2cli.metrics.wer import UNITS
from ds2cli.recommend.verdict import baseline, decide, letter_entropy

TRAIN = ["yes", "yes", "no", "maybe"]
DEV = ["yes", "yes", "no"]


def epochs(*losses, cers=None):
    return [{"loss": loss, "dev_cer": cer} for loss, cer in zip(losses, cers or [90.0] * len(losses), strict=True)]


def test_the_entropy_of_equally_frequent_letters_is_the_logarithm_of_their_number():
    assert letter_entropy(["abcd", "dcba"]) == pytest.approx(math.log(4))
    assert letter_entropy(["aaaa"]) == 0 == letter_entropy([])
    assert letter_entropy(["aaab"]) == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))


def test_the_baseline_is_the_best_single_text():
    # yes for no is three characters wrong of eight: two substituted, one inserted
    assert baseline(TRAIN, DEV) == (pytest.approx(100 * 3 / 8), "yes")
    # against long texts nothing but silence is safe; it gets all of them wrong
    rate, text = baseline(["zzzz"], ["ab", "cd"])
    assert (rate, text) == (100.0, "")
    slow = min(100 * sum(count(list(d), list(t)).errors for d in DEV) / 8 for t in ("", *TRAIN))
    assert baseline(TRAIN, DEV)[0] == pytest.approx(slow)
    assert count(UNITS["char"]("no"), UNITS["char"]("yes")).errors == 3


@pytest.mark.parametrize(
    ("losses", "cer", "state"),
    [
        ((2.2, 0.1), 10.0, "learned"),
        ((2.2, 1.2), 18.0, "learned"),
        ((2.2, 1.2), 19.0, "begun to learn"),
        ((2.2, 0.1), 29.0, "begun to learn"),
        ((2.2, 0.1), 31.0, "learned by heart"),
        ((2.2, 2.0), 31.0, "not learned"),
        ((2.2, 2.0), 100.0, "not learned"),
        ((2.2, math.nan), 100.0, "diverged"),
        ((2.2, None), 100.0, "diverged"),
        ((2.2, 9.0), 100.0, "diverged"),
    ],
)
def test_states(losses, cer, state):
    verdict = decide(epochs(*losses), cer, TRAIN, DEV)
    assert verdict.state == state and (verdict.text, verdict.epochs) == ("yes", 2)
    assert verdict.describe().startswith(f"The network has {state}: on dev {cer:.1f} % of the characters are wrong")
    by_heart = state == "begun to learn" and losses[-1] < 1
    assert ("knows the training texts by heart" in verdict.describe()) == by_heart
    assert bool(verdict.advice(is_closed=False, minutes=3)) or state == "learned"


def test_advice_fits_the_data():
    begun = decide(epochs(2.2, 1.2, cers=[50, 25]), 25.0, TRAIN, DEV)
    assert begun.epoch == 2 and any("more epochs" in line for line in begun.advice(is_closed=True, minutes=3))
    assert not any("closed vocabulary" in line for line in begun.advice(is_closed=True, minutes=3))
    assert any("closed vocabulary" in line for line in begun.advice(is_closed=False, minutes=3))
    early = decide(epochs(2.2, 1.2, cers=[25, 50]), 25.0, TRAIN, DEV)
    assert early.epoch == 1 and not any("more epochs" in line for line in early.advice(is_closed=True, minutes=3))
    assert any(
        "suspects" in line for line in decide(epochs(2.2, 2.2), 99.0, TRAIN, DEV).advice(is_closed=False, minutes=3)
    )
