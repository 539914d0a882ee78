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


def certain(path, prob=0.999):
    log_probs = np.full((len(path), 4), np.log((1 - prob) / 3), np.float32)
    log_probs[np.arange(len(path)), path] = np.log(prob)
    return log_probs


@pytest.fixture
def spoken(tmp_path):
    """Rows that say what `said` spells, one symbol in every second step, and whose text is another one."""

    def make(*pairs, lang=None):
        with ArkWriter(tmp_path / "spoken.ark") as ark:
            return [
                {
                    "id": f"u{i}",
                    "text": text,
                    "emission": ark.write(f"u{i}", certain([0, *(s for x in VOCAB.encode(said) for s in (x, 0)), 0])),
                    "step_s": 0.1,
                }
                for i, (said, text) in enumerate(pairs)
            ]

    return make


GAPS = AlignConfig(gaps=True, gap_cost=4.0, skip_cost=2.0)


def test_gaps_are_listed_and_noted(spoken, exp):
    ledger, tally = Ledger(), align.GapTally()
    rows = spoken(("ab ba bb", "ab ba bb"), ("ab ba bb", "ab aaa ba bb"), ("ab aaaa bb", "ab bb"))
    results = list(align.run(GAPS, rows, ledger, Experiment(exp), tally))
    assert [[(g["text"], g["heard"]) for g in row.get("gaps", [])] for row in results] == [
        [],
        [("aaa", "")],
        [("", "aaaa")],
    ]
    assert [[w["word"] for w in row["words"]] for row in results] == [
        ["ab", "ba", "bb"],
        ["ab", "ba", "bb"],
        ["ab", "bb"],
    ]
    assert not any("ctc_cost" in row for row in results) and all("align_logprob" in row for row in results)
    assert (tally.gaps, tally.unaligned, tally.words) == (2, 1, 9)
    (note,) = ledger.notes
    assert note.startswith("1 of 9 words did not align, in 2 gaps of ") and "u2 at 0.7 s: heard 'aaaa')" in note


def test_texts_that_were_hardly_said_are_dropped(spoken, exp):
    ledger = Ledger()
    rows = spoken(("ab", "ab aaa bbb"), ("ab ba", "ab aaa ba"), ("ab", "aaa"))
    results = list(align.run(GAPS, rows, ledger, Experiment(exp)))
    assert [row["id"] for row in results] == ["u1"]
    assert [r["reason"] for r in ledger.rows] == ["unaligned", "unaligned"]
    assert ledger.rows[0]["detail"].startswith("2 of 3 words do not align, as at ")
    assert "'aaa bbb' not said" in ledger.rows[0]["detail"]


def test_a_word_longer_than_allowed_is_a_gap(spoken, exp):
    config = AlignConfig(max_word=0.4)
    ledger = Ledger()
    (row,) = align.run(config, spoken(("ab aab bb", "ab aab bb")), ledger, Experiment(exp))
    assert [w["word"] for w in row["words"]] == ["ab", "bb"]
    assert [(g["text"], g["heard"]) for g in row["gaps"]] == [("aab", "")]
    assert "1 of 3 words did not align, in 1 gaps" in ledger.notes[0]


def test_characters_and_fields_of_an_earlier_alignment(spoken, exp):
    (row,) = spoken(("ab", "ab"))
    row |= {"gaps": [{"start": 0.0}], "chars": [], "words": [], "ctc_cost": 1.0, "align_logprob": 0.0}
    (found,) = align.run(AlignConfig(chars=True), [row], Ledger(), Experiment(exp))
    assert "gaps" not in found and [c["char"] for c in found["chars"]] == ["a", "b"]
    (found,) = align.run(GAPS, [row], Ledger(), Experiment(exp))
    assert "chars" not in found and "ctc_cost" not in found


def test_closing_the_stage_stops_the_work(spoken, exp, monkeypatch):
    from ds2cli.kernels import viterbi

    monkeypatch.setattr(viterbi, "CHECK_STATES", 1)
    results = align.run(AlignConfig(), spoken(*[("ab ba", "ab ba")] * 50), Ledger(), Experiment(exp))
    next(results)
    results.close()


def test_words_that_cannot_be_spelled_are_counted_and_a_text_of_them_is_dropped(spoken, exp):
    ledger = Ledger()
    rows = spoken(("ab ba bb", "ab 1984 bb"), ("ab ba", "Ab Ba"), ("ab ba bb", "Ab Ba bb"))
    (row,) = align.run(AlignConfig(), rows, ledger, Experiment(exp))
    assert [("conf" in word) for word in row["words"]] == [True, False, True]
    assert [r["reason"] for r in ledger.rows] == ["unspellable", "unspellable"]
    assert ledger.rows[1]["detail"].startswith(
        "2 of 3 words have letters or signs that the network does not know, such as 'Ab'"
    )
    (note,) = ledger.notes
    assert note.startswith("1 of 3 words have letters or signs that the network does not know, such as '1984' in u0; ")
