"""Forced alignment of rows."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.align import AlignConfig
from ds2cli.drops import Ledger
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import align
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))


@pytest.fixture
def exp(tmp_path):
    VOCAB.save(tmp_path / "tokens.txt")
    return str(tmp_path)


@pytest.fixture
def rows(tmp_path):
    def make(*texts, steps=6):
        rng = np.random.default_rng(0)
        with ArkWriter(tmp_path / "e.ark") as ark:
            arrays = [np.log(rng.dirichlet(np.ones(4), steps)).astype(np.float32) for _ in texts]
            return [
                {"id": f"u{i}", "text": text, "emission": ark.write(f"u{i}", lp), "step_s": 0.03}
                for i, (text, lp) in enumerate(zip(texts, arrays, strict=True))
            ]

    return make


@pytest.mark.parametrize("nj", [1, 2])
def test_rows_gain_words_and_scores(rows, exp, nj):
    results = list(align.run(AlignConfig(nj=nj), rows("a b", "ba", ""), Ledger(), Experiment(exp)))
    assert [[w["word"] for w in row["words"]] for row in results] == [["a", "b"], ["ba"], []]
    for row in results:
        assert 0 < row["ctc_cost"] <= -row["align_logprob"] + 1e-4


def test_texts_that_cannot_be_aligned_are_dropped(rows, exp):
    ledger = Ledger()
    results = list(align.run(AlignConfig(), rows("a b", "aaaa", "abababa", "xyz"), ledger, Experiment(exp)))
    assert [row["id"] for row in results] == ["u0"]
    assert [r["reason"] for r in ledger.rows] == ["label-too-long", "label-too-long", "unspellable"]
    assert "need 7 steps or more, the utterance has 6" in ledger.rows[0]["detail"]


def test_times_need_the_duration_of_a_step(rows, exp):
    from ds2cli.errors import DataError

    (row,) = rows("a")
    del row["step_s"]
    with pytest.raises(DataError, match="no trained network"):
        list(align.run(AlignConfig(), [row], Ledger(), Experiment(exp)))


def test_the_times_of_each_row_follow_from_the_duration_of_its_steps(exp, tmp_path):
    path = [0, 2, 2, 0, 1, 3]  # a, a space and b
    certain = np.full((6, 4), np.log(0.1 / 3), np.float32)
    certain[np.arange(6), path] = np.log(0.9)
    with ArkWriter(tmp_path / "certain.ark") as ark:
        place = ark.write("u", certain)
    given = [{"id": "u", "text": "a b", "emission": place, "step_s": step_s} for step_s in (0.03, 0.01)]
    results = list(align.run(AlignConfig(), given, Ledger(), Experiment(exp)))
    times = [[(w["start"], w["end"]) for w in row["words"]] for row in results]
    assert times == [[(0.03, 0.09), (0.15, 0.18)], [(0.01, 0.03), (0.05, 0.06)]]
    # 6 log 0.9
    assert [row["align_logprob"] for row in results] == [-0.6322, -0.6322]
