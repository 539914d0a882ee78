"""Lists of symbols of other toolkits."""

from __future__ import annotations

import json

import pytest

from ds2cli.errors import DataError
from ds2cli.text.tokens import Tokens, load_plain_vocab, load_tokens, parse_tokens
from ds2cli.text.vocab import BLANK, Vocab

OURS = (BLANK, " ", "a", "b")


def parse(text):
    return parse_tokens(text.encode(), "t.txt")


@pytest.mark.parametrize(
    ("text", "columns", "left_out"),
    [
        ("<blank>\n<space>\na\nb\n", (0, 1, 2, 3), ()),
        # icefall, sherpa: ids in any order, a space as U+2581 or as itself, Windows line ends
        ("<blk> 0\n▁ 1\na 2\nb 3\n", (0, 1, 2, 3), ()),
        ("b 3\r\na 2\r\n  1\r\n<eps>\t0\r\n", (0, 1, 2, 3), ()),
        # Kaldi's symbols of graphs are no outputs
        ("<eps> 0\n| 1\na 2\nb 3\n#0 4\n#1 5\n", (0, 1, 2, 3), ()),
        # NeMo, with the blank added at its end
        (" \na\nb\n<blank>\n", (3, 0, 1, 2), ()),
        # wav2vec 2.0: the padding is the blank, special symbols are no text
        ("<pad>\n<s>\n</s>\n<unk>\n|\na\nb\n", (0, 4, 5, 6), ("<s>", "</s>", "<unk>")),
        (json.dumps({"[PAD]": 4, "[UNK]": 3, "|": 0, "b": 2, "a": 1}), (4, 0, 1, 2), ("[UNK]",)),
        # what a network never says can be left out, several times
        ("<blk>\n<space>\n<unused>\na\n<unused>\nb\n", (0, 1, 3, 5), ("<unused>", "<unused>")),
        # the padding is no blank if there is one; | is a letter if there is a space
        ("<pad>\n<space>\na\nb\n<blank>", (4, 1, 2, 3), ("<pad>",)),
    ],
)
def test_lists_of_other_toolkits(text, columns, left_out):
    tokens = parse(text)
    assert tokens.vocab.symbols == OURS
    assert (tokens.columns, tokens.left_out) == (columns, left_out)
    assert tokens.is_plain == (columns == (0, 1, 2, 3) and not left_out)


def test_a_bar_is_a_letter_if_there_is_a_space():
    assert parse("<blk>\n<space>\n|\n").vocab.symbols == (BLANK, " ", "|")


def test_there_may_be_no_space():
    assert parse("<blk> 0\n中 1\n").vocab.symbols == (BLANK, "中")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\n", "no symbol is the blank: call it <blank>, at the place of its output"),
        ("<blk>\n<blank>\na\n", "<blk> and <blank> could both be the blank: rename the one that is not"),
        ("<pad>\n[PAD]\na\n", "could both be the blank"),
        ("<blk>\n|\n▁\n", "could both be the space: write <space>"),
        ("<blk> 0\n▁the 1\ns 2\n", "'▁the' is the beginning of a word with the space before it"),
        ("<blk> 0\na 2\n", "no symbol has the id 1: expected 0 to 1"),
        ("a 1\nb 2\n", "no symbol has the id 0 .*add `<blank> 0`"),
        ("<blk> 0\na 0\n", "the id 0 is that of '<blk>' and of 'a'"),
        ("<blk> 0\na 1\na 2\n", "'a' more than once"),
        ("<blk> 0\na\n", "line 1: expected one symbol, or on each line SYMBOL ID, got '<blk> 0'"),
        ("<blk>\n\na\n", "line 2 is empty: expected one symbol per line"),
        ("", "line 1 is empty"),
        ('{"a": "x"}', "not a JSON object of ids by symbol"),
        ('{"a": ' + "[" * 100000, "not a JSON object"),
        ("{", "not a JSON object"),
    ],
)
def test_what_is_ambiguous_or_incomplete_is_refused(text, message):
    with pytest.raises(DataError, match=rf"t\.txt: .*{message}"):
        parse(text)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(DataError, match=r"t\.txt: "):
        parse_tokens(b"<blk>\n\xff\xfe", "t.txt")


def test_our_own_list_is_read_with_its_pieces(tmp_path):
    vocab = Vocab((BLANK, " ", "<unk>", "a"))
    vocab.save(tmp_path / "tokens.txt")
    # a symbol of this name is one of the network's, as it was trained here
    assert load_tokens(tmp_path / "tokens.txt") == Tokens.of(vocab)


def test_emissions_of_another_order_need_another_list(tmp_path):
    path = tmp_path / "tokens.txt"
    path.write_text("<blk> 0\n▁ 1\na 2\n")
    assert load_plain_vocab(path).symbols == (BLANK, " ", "a")
    path.write_text("a\n<unk>\n<blank>\n")
    with pytest.raises(DataError, match=r"output 2 of 3 and <unk> cannot be in texts: ds2 emit, with --onnx or --sc"):
        load_plain_vocab(path)
    with pytest.raises(DataError, match=r"none: no such file"):
        load_tokens(tmp_path / "none")


def test_phonemes_are_the_longest_ones():
    vocab = Vocab((BLANK, " ", "a", "aɪ", "t", "t͡ʃ", "ʃ", "ɪ", "͡"))
    ids = vocab.encode("t͡ʃaɪt ɪa")
    assert [vocab.symbols[i] for i in ids] == ["t͡ʃ", "aɪ", "t", " ", "ɪ", "a"]
    assert vocab.decode(ids) == "t͡ʃaɪt ɪa"
