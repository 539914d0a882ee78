"""The six features by hand, and the errors of texts without a cost."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ds2cli.errors import BadUtterance
from ds2cli.search.transcript_features import FEATURES, UNFIT, text_cost, transcript_features
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))


def test_six_numbers():
    found = dict(zip(FEATURES, transcript_features(12.0, 30, " ab  é\n"), strict=True))
    assert found == {
        "ctc_cost": 12.0,
        "cost_per_step": 0.4,
        "cost_per_char": 3.0,
        "steps_per_char": 7.5,
        "num_words": 2.0,
        "num_chars": 4.0,
    }


@pytest.mark.parametrize(("cost", "steps", "text"), [(0, 0, ""), (1e308, 10**400, ""), (-1e308, 1, "a b"), (3, 0, " ")])
def test_every_number_is_finite(cost, steps, text):
    assert all(isinstance(x, float) and math.isfinite(x) for x in transcript_features(cost, steps, text))


def test_the_cost_sums_over_all_paths():
    p = np.full((3, 4), 0.25)
    # of 64 paths: aaa, -aa, aa-, a--, -a-, --a
    assert text_cost(np.log(p).astype(np.float32), "a", VOCAB) == pytest.approx(-math.log(6 / 64), rel=1e-5)
    assert text_cost(np.log(p).astype(np.float32), " \t", VOCAB) == pytest.approx(-math.log(1 / 64), rel=1e-5)


def test_texts_without_a_cost():
    log_probs = np.log(np.full((3, 4), 0.25)).astype(np.float32)
    impossible = log_probs.copy()
    impossible[:, 2] = -np.inf
    for emission, text, reason in (
        (log_probs, "aa b", "label-too-long"),
        (log_probs, "aaa", "label-too-long"),
        (log_probs, "c", "unspellable"),
        (impossible, "a", "impossible-text"),
        (np.empty((0, 4), np.float32), "a", "label-too-long"),
    ):
        with pytest.raises(BadUtterance) as e:
            text_cost(emission, text, VOCAB)
        assert e.value.reason == reason and (reason in UNFIT) == (reason != "unspellable")
