"""When tuned weights are stored: known by construction, from trials whose errors are given."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.metrics.wer import Counts
from ds2cli.recognizer.emissions import Emission
from ds2cli.search.tune import Axis, Trial, Weights, find_far, find_outside
from ds2cli.stages import tune, tune_guard
from ds2cli.text.vocab import BLANK, Vocab

AXES = (Axis("alpha", (0.4, 0.8, 1.6), minimum=0.0), Axis("beta", (-1.0, 1.0, 3.0)), Axis("unknown", (-4.0,)))
DEFAULT = Weights(0.8, 1.0, -4.0)


def trial(weights, errors):
    """A trial on 40 utterances of 10 words; the first `errors` of them have an error."""
    per_utterance = np.array([[int(i < errors), 10] for i in range(40)], np.int64)
    return Trial(weights, Counts(subs=errors, hits=400 - errors), errors, per_utterance)


@pytest.mark.parametrize(
    ("alpha", "beta", "outside", "far"),
    [
        (0.8, 1.0, [], []),
        (0.4, 3.0, [], []),
        (1.7, 1.0, ["alpha"], []),
        (2.8, -1.5, ["alpha", "beta"], []),
        (2.81, 7.0, ["alpha", "beta"], ["alpha"]),
        (0.8, 10.0, ["beta"], ["beta"]),
        (0.8, -5.1, ["beta"], ["beta"]),
    ],
)
def test_a_point_is_far_when_it_is_further_from_the_grid_than_the_grid_is_wide(alpha, beta, outside, far):
    # a weight with a single value was not searched, wherever it lies
    point = Weights(alpha, beta, -9.0)
    assert [axis.name for axis in find_outside(AXES, point)] == outside
    assert [axis.name for axis in find_far(AXES, point)] == far


@pytest.mark.parametrize(
    ("beta", "better", "kept", "said"),
    [
        (1.5, 99.0, "tuned", ""),
        (1.5, 60.0, "tuned", "the gain may be chance (fewer errors than the defaults in 60.0 % of the resamplings"),
        (4.0, 99.0, "tuned", "beta 4 is outside the values tried first (-1 to 3): stored the tuned weights"),
        (10.0, 99.0, "tuned", "beta 10 is outside the values tried first (-1 to 3): stored the tuned weights"),
        (10.0, 60.0, "default", "beta 10 is outside the values tried first (-1 to 3), and the gain may be chance"),
    ],
)
def test_absurd_weights_are_stored_only_with_evidence_and_never_silently(beta, better, kept, said):
    best, untuned = trial(Weights(0.8, beta, -4.0), 20), trial(DEFAULT, 25)
    weights = {"alpha": 0.8, "beta": beta, "unknown": -4.0}
    found = tune_guard.check(AXES, tune.Summary(best, untuned, weights, [], (0.0, 1.0), 1000, better))
    assert found.trial is (best if kept == "tuned" else untuned)
    assert found.warning.startswith(said) and bool(found.warning) == bool(said) and "\n" not in found.warning
    assert not said or f"stored the {kept} weights" in found.warning


def test_nothing_is_said_where_the_defaults_are_the_best():
    same = trial(DEFAULT, 25)
    assert tune_guard.check(AXES, tune.Summary(same, same, {}, [], (0.0, 1.0), 1000, 0.0)) == (same, "")


def test_greedy_errors_are_those_of_the_best_paths():
    vocab = Vocab((BLANK, " ", "a", "b"))
    paths = {"ab": [2, 2, 0, 3], "ba": [0, 0, 0], "a b": [2, 1, 3]}
    items = [
        Emission({"id": t, "text": t}, np.log(np.eye(4, dtype=np.float32)[p] + 1e-6), 0.03) for t, p in paths.items()
    ]
    errors = tune_guard.greedy_errors(items, vocab)
    # of the seven characters, the two of the blank path are missing
    assert (errors.dels, errors.errors, errors.total) == (2, 2, 7)
    said = tune_guard.describe_useless(Counts(dels=9, hits=1), 60.0)
    assert said.startswith("without a language model 90.0 % of the characters are wrong, expected less than 60 %")
