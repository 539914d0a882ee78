"""Files of phrases and of words."""

from __future__ import annotations

import pytest

from ds2cli.errors import DataError
from ds2cli.search.wordlist import read_phrases, read_words
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "'", "a", "b", "é"))


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / "list.txt"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    return write


def test_phrases_with_and_without_weights(file):
    path = file("\ufeff# names\nab  ba\n\nbé\t2.5\r\n  # more\na\t-1e1\nab ba\n")
    assert read_phrases(path, VOCAB, 8.0) == {"ab ba": 8.0, "bé": 2.5, "a": -10.0}


def test_phrases_are_cleaned_as_transcripts_are_where_they_must_be(file):
    assert read_phrases(file("A’b, BA!\ne\u0301\n"), VOCAB, 1.0) == {"a'b ba": 1.0, "é": 1.0}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("ab\nxyz\n", r"list.txt:2: 'xyz' cannot be written by this network: 'x' in 'xyz'"),
        ("ab 7\n", r"list.txt:1: 'ab 7' cannot be written .*write numbers as spoken"),
        ("ab\tmuch\n", r"list.txt:1: the weight is 'much', expected nats"),
        ("ab\t\n", r"list.txt:1: the weight is ''"),
        ("ab\tnan\n", r"list.txt:1: the weight is 'nan'"),
        ("ab\tinf\n", r"list.txt:1: the weight is 'inf'"),
        ("ab\t1\t2\n", r"list.txt:1: the weight is '1\\t2'"),
        ("#\n\t3\n", r"list.txt:2: a weight without a phrase"),
        ("!?\n", r"list.txt:1: '!\?' has no words"),
        ("ab\t1\nab\t2\n", r"list.txt:2: 'ab' came before with the weight 1, now 2"),
        (b"ab\nb\xe9\n", r"list.txt:2: not UTF-8 \(fix: iconv"),
        ("", r"list.txt: no phrase in it"),
        ("# nothing\n", r"list.txt: no phrase in it"),
    ],
)
def test_bad_lines_are_named(file, data, says):
    with pytest.raises(DataError, match=says):
        read_phrases(file(data), VOCAB, 1.0)


def test_words(file):
    assert read_words(file("ab\n# x\nba\n\nab\nBÉ\nxy\n"), VOCAB) == (["ab", "ba", "bé"], ["xy"])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("ab\nab ba\n", r"list.txt:2: 'ab ba', expected one word a line"),
        ("xy\nz\n", r"list.txt: none of its 2 words can be written"),
        ("\n", r"list.txt: no word in it"),
    ],
)
def test_bad_lists_of_words(file, data, says):
    with pytest.raises(DataError, match=says):
        read_words(file(data), VOCAB)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_phrases(str(tmp_path / "none"), VOCAB, 1.0)
