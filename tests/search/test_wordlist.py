"""Hotword files and word lists."""

from __future__ import annotations

import pytest

from ds2cli.errors import DataError
from ds2cli.search.wordlist import read_hotwords, read_word_list
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "'", "a", "b", "é"))


@pytest.fixture
def write_list(tmp_path):
    def write(data):
        path = tmp_path / "list.txt"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    return write


def test_hotwords_with_and_without_weights(write_list):
    path = write_list("\ufeff# names\nab  ba\n\nbé\t2.5\r\n  # more\na\t-1e1\nab ba\n")
    assert read_hotwords(path, VOCAB, 8.0) == {"ab ba": 8.0, "bé": 2.5, "a": -10.0}


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\n\n"])
def test_lists_as_other_programs_write_them(write_list, codec, line_end):
    hotwords = write_list(line_end.join(["ab", "bé\t2", ""]).encode(codec))
    assert read_hotwords(hotwords, VOCAB, 8.0) == {"ab": 8.0, "bé": 2.0}
    words = write_list(line_end.join(["ab", "bé", ""]).encode(codec))
    assert read_word_list(words, VOCAB) == (["ab", "bé"], [])


def test_unspellable_phrases_are_normalized_like_transcripts(write_list):
    assert read_hotwords(write_list("A’b, BA!\ne\u0301\n"), VOCAB, 1.0) == {"a'b ba": 1.0, "é": 1.0}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("ab\nxyz\n", r"list.txt:2: 'xyz' cannot be written by this network: 'x' in 'xyz'"),
        ("ab 7\n", r"list.txt:1: 'ab 7' cannot be written .*write numbers as spoken"),
        ("ab\tmuch\n", r"list.txt:1: bad weight: expected a number .nats. after the tab, found 'much'"),
        ("ab\t\n", r"list.txt:1: bad weight: .* found ''"),
        ("ab\tnan\n", r"list.txt:1: bad weight: .* found 'nan'"),
        ("ab\tinf\n", r"list.txt:1: bad weight: .* found 'inf'"),
        ("ab\t1\t2\n", r"list.txt:1: bad weight: .* found '1\\t2'"),
        ("#\n\t3\n", r"list.txt:2: a weight without a phrase"),
        ("!?\n", r"list.txt:1: '!\?' has no words"),
        ("ab\t1\nab\t2\n", r"list.txt:2: 'ab' is listed twice: with weight 1 and now 2"),
        (b"ab\nb\xe9\n", r"list.txt:2: not UTF-8, perhaps Windows-1252 for 'bé' \(iconv .*list.txt"),
        ("", r"list.txt: the file has no hotwords: expected one phrase per line"),
        ("# nothing\n", r"list.txt: the file has no hotwords: expected one phrase per line"),
    ],
)
def test_errors_name_the_line(write_list, data, message):
    with pytest.raises(DataError, match=message):
        read_hotwords(write_list(data), VOCAB, 1.0)


def test_word_list(write_list):
    assert read_word_list(write_list("ab\n# x\nba\n\nab\nBÉ\nxy\n"), VOCAB) == (["ab", "ba", "bé"], ["xy"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("ab\nab ba\n", r"list.txt:2: expected one word per line, found 'ab ba'"),
        ("xy\nz\n", r"list.txt: none of its 2 words can be written"),
        ("\n", r"list.txt: the file has no words: expected one word per line"),
    ],
)
def test_bad_word_lists(write_list, data, message):
    with pytest.raises(DataError, match=message):
        read_word_list(write_list(data), VOCAB)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_hotwords(str(tmp_path / "none"), VOCAB, 1.0)
