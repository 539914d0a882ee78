"""The six features by hand."""

from __future__ import annotations

import math

import pytest

from ds2cli.search.transcript_features import FEATURES, transcript_features


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
