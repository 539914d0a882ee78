"""Fuzz the symbols of a network: tokens.txt, sentencepiece models, word lists and hotwords."""

from pathlib import Path

from fuzzing import allowed_errors, fuzz
from hypothesis import strategies as st
from inputs import ENCODINGS, LINE_ENDS, TEXTS, UNICODE, damaged, encode

from ds2cli.config.units import UnitsConfig
from ds2cli.recognizer.vocabulary import open_vocab
from ds2cli.search.hotwords import build_hotwords
from ds2cli.search.wordlist import read_hotwords, read_word_list
from ds2cli.text.vocab import BLANK, PIECES, SPACE, Vocab

LETTERS = Vocab((BLANK, " ", "'", *"abcdefghijklmnopqrstuvwxyz", "é"))
LINES = st.one_of(TEXTS, st.sampled_from([BLANK, SPACE, "a", "b", "th", "<U+0041>", "<U+D800>", "<U+110000>", ""]))
PHRASES = st.one_of(
    TEXTS,
    st.text(st.sampled_from("ab é\t#-'1."), max_size=12),
    st.tuples(st.sampled_from(["anna", "new york", ""]), TEXTS | st.floats().map(str)).map("\t".join),
)


@fuzz(st.lists(LINES, max_size=8), ENCODINGS, LINE_ENDS, st.booleans())
def test_any_list_of_symbols(lines, encoding, end, has_blank):
    lines = [BLANK, *lines] if has_blank else lines
    Path("tokens.txt").write_bytes(encode(end.join(lines), encoding))
    with allowed_errors():
        vocab = open_vocab("tokens.txt")
        vocab.save("again.txt")
        assert Vocab.load("again.txt") == vocab
    with allowed_errors():
        assert open_vocab(".") == vocab


@fuzz(st.sets(UNICODE.filter(bool), max_size=8))
def test_any_symbols_are_read_as_they_were_written(symbols):
    vocab = Vocab((BLANK, *sorted(symbols - {BLANK})))
    vocab.save("tokens.txt")
    assert Vocab.load("tokens.txt") == vocab


TEXT = "the quick brown fox jumps over the lazy dog while the cat sleeps on a warm stone"
PIECES_VOCAB = Vocab.from_texts([TEXT], UnitsConfig(kind="bpe", size=40))


@fuzz(st.data(), TEXTS)
def test_damaged_sentencepiece_models(data, text):
    PIECES_VOCAB.save("tokens.txt")
    Path(PIECES).write_bytes(data.draw(damaged(PIECES_VOCAB.pieces)))
    with allowed_errors():
        vocab = Vocab.load("tokens.txt")
        with allowed_errors():
            assert vocab.decode(vocab.encode(TEXT)) == TEXT
        with allowed_errors():
            vocab.encode(text)


@fuzz(st.lists(PHRASES, max_size=5), ENCODINGS, LINE_ENDS)
def test_any_hotwords_and_word_lists(lines, encoding, end):
    Path("words.txt").write_bytes(encode(end.join(lines), encoding))
    with allowed_errors():
        build_hotwords(LETTERS, read_hotwords("words.txt", LETTERS, 8.0))
    with allowed_errors():
        words, unspellable = read_word_list("words.txt", LETTERS)
        assert words and len(words) == len(set(words))
        assert len(words) + len(unspellable) <= len(lines) + sum(map(len, lines))
