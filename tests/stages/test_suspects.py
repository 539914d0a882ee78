import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.stages.suspects import MAX_DEVIATIONS, deviate, rank
from ds2cli.train.losses import Losses

RNG = np.random.default_rng(0)


def test_deviations_from_the_median():
    x = np.array([*np.linspace(0, 2, 21), 1.0])
    np.testing.assert_allclose(deviate(x)[20], 1 / (1.4826 * 0.5))
    assert not deviate(x)[:11].any()
    assert deviate(np.exp(x), both=True)[0] == pytest.approx(deviate(x)[20])


def test_missing_and_extreme_values():
    x = np.array([*np.linspace(0, 2, 21), np.nan, 1e9, np.inf])
    d = deviate(x)
    assert (d[21], d[22]) == (0, MAX_DEVIATIONS)
    assert np.isfinite(d).all()


def test_values_that_are_equal_but_for_one():
    d = deviate(np.array([5.0] * 20 + [6.0, 4.0]))
    assert d.tolist() == [0] * 20 + [MAX_DEVIATIONS, 0]


def test_few_values_are_not_compared():
    assert not deviate(np.array([1.0, 2.0, 100.0])).any()
    assert not deviate(np.full(20, np.nan)).any()


def rows(count=40):
    return [{"id": f"u{i:02}", "text": "a" * (20 + i % 7 * (i != 7)), "duration": 2.0} for i in range(count)]


def test_a_loss_that_stays_high_is_suspicious():
    nats = RNG.uniform(20, 30, (4, 40)).astype(np.float32)
    nats[1:, 7] = 120
    # skipped in one epoch
    nats[2, 8] = np.nan
    losses = Losses([row["id"] for row in rows()], nats)
    ranked = rank(rows(), [], losses)
    assert ranked[0].id == "u07"
    assert ranked[0].evidence["loss"] == pytest.approx(120 / 23, abs=1e-3)
    assert len(ranked) == 40
    assert [s.score for s in ranked] == sorted([s.score for s in ranked], reverse=True)


def test_the_first_epoch_does_not_count():
    nats = np.full((2, 40), 25, np.float32)
    nats[0, 7] = 1000
    losses = Losses([row["id"] for row in rows()], nats)
    assert max(s.evidence["loss"] for s in rank(rows(), [], losses)) == pytest.approx(25 / 23, abs=1e-3)


def test_speaking_rates_on_both_sides():
    table = rows()
    table[3]["duration"], table[5]["duration"] = 0.2, 30.0
    assert {s.id for s in rank(table, [], None)[:2]} == {"u03", "u05"}


def test_costs_and_hypotheses_of_other_manifests():
    results = [{"id": row["id"], "ctc_cost": 10.0 + (row["id"] == "u11") * 300} for row in rows()]
    decoded = [{"id": row["id"], "pred_text": "b" if row["id"] == "u11" else row["text"]} for row in rows()]
    first = rank(rows(), [results, [*decoded, {"id": "other", "pred_text": "x"}]], None)[0]
    assert first.id == "u11"
    assert first.evidence["cer"] == 100
    assert {"cost", "cer"} <= first.deviations.keys()


def test_no_evidence():
    with pytest.raises(DataError, match="no evidence"):
        rank([{"id": "a", "text": "a"}], [], None)
    with pytest.raises(DataError, match="no utterances"):
        rank([], [], None)
