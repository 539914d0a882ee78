"""The correction of word times in the stages that write them."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.align import AlignConfig
from ds2cli.config.decode import DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.recognizer.decoder import build_search, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import align, align_book, decode
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))
CORRECTION = {"shift_ms": 25.0, "extend_ms": 40.0}


@pytest.fixture
def exp(tmp_path):
    VOCAB.save(tmp_path / "tokens.txt")
    return Experiment(str(tmp_path))


@pytest.fixture
def spoken(tmp_path):
    """Rows that say these texts: a symbol in every second step of 0.1 s, after two steps."""

    def make(*texts):
        rows = []
        with ArkWriter(tmp_path / "spoken.ark") as ark:
            for i, text in enumerate(texts):
                path = [0, 0, *(s for symbol in VOCAB.encode(text) for s in (symbol, 0)), 0]
                log_probs = np.full((len(path), len(VOCAB)), np.log(0.0002), np.float32)
                log_probs[np.arange(len(path)), path] = np.log(0.999)
                place = ark.write(f"{i}", log_probs)
                rows.append({"id": f"{i}", "text": text, "emission": place, "step_s": 0.1})
        return rows

    return make


def spans(items):
    return [(item["start"], item["end"]) for item in items]


def test_words_symbols_and_gaps_of_align(spoken, exp):
    rows = spoken("ab ba aaa")
    for row in rows:
        row["text"] = "ab ba"
    config = AlignConfig(gaps=True, gap_cost=4.0, skip_cost=2.0, chars=True)
    ((plain,), (corrected,)) = (
        list(align.run(c, rows, Ledger(), exp)) for c in (config, AlignConfig(**{**vars(config), **CORRECTION}))
    )
    assert spans(plain["words"]) == [(0.2, 0.5), (0.8, 1.1)]
    assert spans(corrected["words"]) == [(0.175, 0.515), (0.775, 1.115)]
    assert spans(corrected["chars"])[1] == (0.375, 0.515)
    assert [gap["heard"] for gap in corrected["gaps"]] == ["aaa"]
    shifted = [(start - 0.025, end - 0.025) for start, end in spans(plain["gaps"])]
    assert spans(corrected["gaps"]) == [pytest.approx(span) for span in shifted]
    assert corrected["align_logprob"] == plain["align_logprob"]


def test_each_recording_of_a_book_has_its_own_edges(spoken, exp):
    config = AlignConfig(book="book.txt", shift_ms=400.0)
    rows = list(align_book.run(config, spoken("ab ba", "bb"), Ledger(), exp, "ab ba bb"))
    # a word that would begin before its recording keeps a tenth of the distance to its edge
    assert spans(rows[0]["words"]) == [(0.02, pytest.approx(0.1)), (pytest.approx(0.4), pytest.approx(0.7))]
    assert spans(rows[1]["words"]) == [(0.02, pytest.approx(0.1))]


def test_words_that_were_decoded(spoken, exp):
    found = []
    for settings in ({}, CORRECTION):
        config = resolve_settings(DecodeConfig(greedy=True, timestamps=True, **settings), exp.path)
        (row,) = decode.run(config, spoken("ab ba"), Ledger(), exp, build_search(config, exp))
        found.append(row)
    assert spans(found[0]["pred_words"]) == [(0.2, 0.5), (0.8, 1.1)]
    assert spans(found[1]["pred_words"]) == [(0.175, 0.515), (0.775, 1.115)]
    assert found[0]["pred_conf"] == found[1]["pred_conf"]
