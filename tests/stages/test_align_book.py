"""Several recordings with one text."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.archive import ArkWriter
from ds2cli.config.align import AlignConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import align_book
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "你", "好"))
BOOK = AlignConfig(book="book.txt", gap_cost=4.0, skip_cost=2.0)


@pytest.fixture
def exp(tmp_path):
    VOCAB.save(tmp_path / "tokens.txt")
    return Experiment(str(tmp_path))


@pytest.fixture
def files(tmp_path):
    """Recordings that say these texts, a symbol in every second step."""

    def make(*texts, step_s=0.1):
        rows = []
        with ArkWriter(tmp_path / "spoken.ark") as ark:
            for i, text in enumerate(texts):
                path = [0, *(s for symbol in VOCAB.encode(text) for s in (symbol, 0)), 0]
                log_probs = np.full((len(path), len(VOCAB)), np.log(0.0002), np.float32)
                log_probs[np.arange(len(path)), path] = np.log(0.999)
                rows.append({"id": f"{i}", "emission": ark.write(f"{i}", log_probs), "step_s": step_s})
        return rows

    return make


def texts(rows):
    return [row["text"] for row in rows]


def test_each_recording_gets_its_part_with_its_own_times(files, exp):
    ledger = Ledger()
    rows = list(align_book.run(BOOK, files("ab ba", "bb", "aa ab"), ledger, exp, "ab ba bb aa ab"))
    assert texts(rows) == ["ab ba", "bb", "aa ab"]
    assert [[(w["word"], w["start"]) for w in row["words"]] for row in rows] == [
        [("ab", 0.1), ("ba", 0.7)],
        [("bb", 0.1)],
        [("aa", 0.1), ("ab", 0.7)],
    ]
    assert not any(name in row for row in rows for name in ("gaps", "align_logprob", "ctc_cost"))
    assert ledger.notes == [] and ledger.rows == []


def test_an_introduction_that_is_not_in_the_book_and_a_page_that_was_not_read(files, exp):
    ledger = Ledger()
    rows = list(align_book.run(BOOK, files("bbbb aaaa ab ba", "bb aa"), ledger, exp, "ab ba aaab babb bb aa"))
    assert texts(rows) == ["ab ba", "bb aa"]
    introduction = rows[0]["gaps"][0]
    assert (introduction["start"], introduction["heard"]) == (0.1, "bbbb aaaa")
    assert "aaab babb" in [g["text"] for row in rows for g in row.get("gaps", [])]
    assert "2 of 6 words did not align" in ledger.notes[0]


def test_a_gap_over_several_recordings_is_divided(files, exp):
    rows = list(align_book.run(BOOK, files("ab ba bbbb", "aaaa aaaa", "bbb ab"), Ledger(), exp, "ab ba ab"))
    # of the second one, nothing is in the book
    assert texts(rows) == ["ab ba", "ab"]
    assert [[g["heard"] for g in row["gaps"]] for row in rows] == [["bbbb"], ["bbb"]]
    assert all(0 <= g["start"] <= g["end"] for row in rows for g in row["gaps"])


def test_a_recording_without_any_word_of_the_book_is_dropped(files, exp):
    ledger = Ledger()
    rows = list(align_book.run(BOOK, files("ab ba", "", "aa ab"), ledger, exp, "ab ba aa ab"))
    assert [row["id"] for row in rows] == ["0", "2"]
    assert [(r["id"], r["reason"]) for r in ledger.rows] == [("1", "unaligned")]


def test_another_book_is_refused(files, exp):
    with pytest.raises(Ds2Error, match=r"book.txt: 3 of its 4 words were not found .* \(75 %, allowed 50 %"):
        list(align_book.run(BOOK, files("ab"), Ledger(), exp, "ab aaa bbb aaa"))


def test_a_book_that_cannot_be_spelled(files, exp):
    with pytest.raises(DataError, match=r"book.txt: 'x' in 'xyz'"):
        list(align_book.run(BOOK, files("ab"), Ledger(), exp, "xyz"))


def test_emissions_of_two_networks(files, exp):
    rows = files("ab", "ba")
    rows[1]["step_s"] = 0.2
    with pytest.raises(DataError, match=r"1: a step has 0.2 s, that of 0 0.1 s"):
        list(align_book.run(BOOK, rows, Ledger(), exp, "ab ba"))


def test_no_recordings(exp):
    assert list(align_book.run(BOOK, [], Ledger(), exp, "ab")) == []


def test_chinese_text_keeps_its_spaces(files, exp):
    rows = list(align_book.run(BOOK, files("你好 ab", "你你 ab"), Ledger(), exp, "你好 ab 你你 ab"))
    assert texts(rows) == ["你好 ab", "你你 ab"]


def test_numbers_have_times(files, exp):
    (row,) = align_book.run(BOOK, files("ab aabb ba"), Ledger(), exp, "ab 1984 ba")
    assert row["text"] == "ab 1984 ba" and [("conf" in w) for w in row["words"]] == [True, False, True]
