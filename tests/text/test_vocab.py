import pytest

from ds2cli.errors import BadUtterance, DataError
from ds2cli.text.vocab import BLANK, Vocab


def test_blank_is_first_and_symbols_are_sorted():
    assert Vocab.from_texts(["ba c", "é"]).symbols == (BLANK, " ", "a", "b", "c", "é")


def test_english_has_the_papers_29_symbols():
    assert len(Vocab.from_texts(["abcdefghijklmnopqrstuvwxyz '"])) == 29


def test_round_trips(tmp_path):
    vocab = Vocab.from_texts(["hello wörld 你"])
    assert vocab.decode(vocab.encode("hello wörld")) == "hello wörld"
    assert vocab.encode("") == []
    vocab.save(tmp_path / "tokens.txt")
    assert Vocab.load(tmp_path / "tokens.txt") == vocab


def test_a_character_that_cannot_be_spelled_is_named():
    with pytest.raises(BadUtterance, match="'é'"):
        Vocab.from_texts(["a"]).encode("aé")


@pytest.mark.parametrize("lines", ["", "a\n<blank>\n", "<blank>\na\na\n"])
def test_a_broken_list_is_refused(tmp_path, lines):
    (tmp_path / "tokens.txt").write_text(lines)
    with pytest.raises(DataError):
        Vocab.load(tmp_path / "tokens.txt")
