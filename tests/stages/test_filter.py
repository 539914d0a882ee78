"""Filter rows by stored and by computed costs."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.align import AlignConfig
from ds2cli.config.filter import FilterConfig
from ds2cli.drops import Ledger
from ds2cli.metrics.logistic import LogisticModel
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.transcript_filter import TranscriptFilter
from ds2cli.stages import align
from ds2cli.stages import filter as stage
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))
# good below 1 nat per step
CLASSIFIER = TranscriptFilter(LogisticModel(np.array([0, -4.0, 0, 0, 0, 0]), np.zeros(6), np.ones(6), 4.0), 0.5)


@pytest.fixture
def exp(tmp_path):
    VOCAB.save(tmp_path / "tokens.txt")
    return Experiment(str(tmp_path))


@pytest.fixture
def rows(tmp_path):
    def make(*texts, spoken="ab a"):
        p = np.full((2 * len(spoken), 4), 0.01)
        p[np.arange(len(p)), [s for c in spoken for s in (VOCAB.symbols.index(c), 0)]] = 0.97
        with ArkWriter(tmp_path / "e.ark") as ark:
            refs = [ark.write(f"u{i}", np.log(p).astype(np.float32)) for i in range(len(texts))]
        return [{"id": f"u{i}", "text": t, "emission": ref} for i, (t, ref) in enumerate(zip(texts, refs, strict=True))]

    return make


def run(rows, exp, **settings):
    ledger = Ledger()
    return list(stage.run(FilterConfig(**settings), rows, ledger, exp, CLASSIFIER)), ledger


def test_right_texts_are_kept(rows, exp):
    kept, ledger = run(rows("ab a", "bb bb", "ab b", "b"), exp)
    assert [row["id"] for row in kept] == ["u0", "u2"]
    assert all(row["num_steps"] == 8 and row["ctc_cost"] < 8 and row["filter_score"] > 0.5 for row in kept)
    assert [(row["id"], row["reason"], row["bad"]) for row in ledger.rows] == [
        ("u1", "filtered", False), ("u3", "filtered", False),
    ]  # fmt: skip
    assert ledger.rows[0]["detail"].startswith("score 0.0") and ledger.rows[0]["detail"].endswith(", kept from 0.5")


def test_the_costs_are_those_of_align(rows, exp):
    given = [{**row, "step_s": 0.03} for row in rows("ab a", "ab b", "", "a")]
    # a word that the network cannot spell
    given[3]["text"] = "ab é"
    aligned = list(align.run(AlignConfig(), given, Ledger(), exp))
    computed, _ = run(given, exp, keep_all=True)
    assert [row["ctc_cost"] for row in aligned] == pytest.approx([row["ctc_cost"] for row in computed], abs=1e-3)


def test_stored_costs_need_no_network(tmp_path):
    given = [{"id": f"u{i}", "text": "any 1984", "ctc_cost": cost, "num_steps": 10} for i, cost in enumerate((2, 20.0))]
    kept, ledger = run(given, Experiment(str(tmp_path / "gone")))
    assert kept == [{**given[0], "filter_score": round(1 / (1 + np.exp(-4 + 4 * 0.2)), 6)}]
    assert [row["id"] for row in ledger.rows] == ["u1"]


@pytest.mark.parametrize("nj", [1, 2])
def test_rows_with_and_without_costs_keep_their_order(rows, exp, nj):
    given = rows(*["ab a"] * 7)
    for i in (0, 1, 4):
        given[i] |= {"ctc_cost": 0.5, "num_steps": 8}
    # one of the two fields is not enough
    given[5] |= {"ctc_cost": 1e6}
    kept, _ = run(given, exp, nj=nj)
    assert [row["id"] for row in kept] == [row["id"] for row in given]
    assert [row["ctc_cost"] == 0.5 for row in kept] == [True, True, False, False, True, False, False]


def test_texts_without_a_cost(rows, exp):
    given = [*rows("ab a", "aaaa bbbb", "é"), {"id": "u3", "text": "a"}]
    kept, ledger = run(given, exp)
    assert [row["id"] for row in kept] == ["u0"]
    # a wrong text is what the filter is for; one that has no cost is bad
    assert {row["reason"]: row["bad"] for row in ledger.rows} == {
        "unspellable": True, "no-feats": True, "label-too-long": False,
    }  # fmt: skip
    kept, ledger = run(given, exp, keep_all=True)
    assert [(row["id"], row["filter_score"] > 0) for row in kept] == [("u0", True), ("u1", False)]
    assert "ctc_cost" not in kept[1]


def test_the_threshold_can_be_given(rows, exp):
    given = rows("ab a", "ab b", "bb bb", "b")
    scores = {row["id"]: row["filter_score"] for row in run(given, exp, keep_all=True)[0]}
    assert len(scores) == 4 and scores["u0"] > scores["u1"] > scores["u2"] > 0
    for threshold in (0.0, *scores.values(), 1.0):
        kept, _ = run(given, exp, threshold=threshold)
        assert {row["id"] for row in kept} == {name for name, score in scores.items() if score >= threshold}


def test_empty_texts_and_extreme_numbers(tmp_path):
    numbers = [(0, 0), (1e308, 1), (-1e308, 0), (5, 10**400)]
    given = [{"id": f"u{i}", "text": "", "ctc_cost": c, "num_steps": n} for i, (c, n) in enumerate(numbers)]
    kept, _ = run(given, Experiment(str(tmp_path)), keep_all=True)
    assert all(0 <= row["filter_score"] <= 1 for row in kept) and len(kept) == 4
    assert [row["filter_score"] for row in kept][1:3] == [0.0, 1.0]
