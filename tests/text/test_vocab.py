import pickle
from collections import Counter

import numpy as np
import pytest

from ds2cli.config.units import UnitsConfig
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.text.vocab import BLANK, PIECES, Vocab, format_symbol, parse_symbol

TEXTS = ["the cat sat on the mat", "don't été the", "我用 ipad 看书", "a", "i don't  mind"]
KINDS = {
    "char": UnitsConfig(),
    "bigram": UnitsConfig(kind="bigram"),
    "frequent": UnitsConfig(kind="bigram", min_count=2),
    "bpe": UnitsConfig(kind="bpe", size=40),
    "unigram": UnitsConfig(kind="unigram", size=30),
}


@pytest.fixture(params=KINDS)
def vocab(request):
    return Vocab.from_texts(TEXTS, KINDS[request.param])


def encode_to_symbols(vocab, text):
    return [vocab.symbols[i] for i in vocab.encode(text)]


def test_blank_is_first_and_symbols_are_sorted():
    assert Vocab.from_texts(["ba c", "é"]).symbols == (BLANK, " ", "a", "b", "c", "é")


def test_english_has_the_papers_29_symbols():
    assert len(Vocab.from_texts(["abcdefghijklmnopqrstuvwxyz '"])) == 29


def test_bigrams_of_the_papers_example():
    vocab = Vocab.from_texts(["the cat sat"], KINDS["bigram"])
    assert encode_to_symbols(vocab, "the cat sat") == ["th", "e", " ", "ca", "t", " ", "sa", "t"]
    assert vocab.symbols == (BLANK, " ", "a", "c", "ca", "e", "h", "s", "sa", "t", "th")


def test_an_unknown_bigram_is_encoded_as_two_letters():
    vocab = Vocab.from_texts(["the cat sat"], KINDS["bigram"])
    assert encode_to_symbols(vocab, "hecath") == ["h", "e", "ca", "th"]
    frequent = Vocab.from_texts(["the cat the"], KINDS["frequent"])
    assert encode_to_symbols(frequent, "the cat") == ["th", "e", " ", "c", "a", "t"]


def test_min_count_excludes_rare_characters():
    vocab = Vocab.from_texts(["aab", "a b"], UnitsConfig(min_count=2))
    assert vocab.symbols == (BLANK, "a", "b")
    with pytest.raises(BadUtterance, match="' '"):
        vocab.encode("a b")


@pytest.mark.parametrize("texts", [["aa b"], ["ac ab"], ["a b", "a"], ["a c a"]])
def test_min_count_counts_repeated_words_and_characters(texts):
    counts = Counter("".join(texts))
    for limit in (2, 3):
        vocab = Vocab.from_texts(texts, UnitsConfig(min_count=limit))
        assert vocab.symbols[1:] == tuple(sorted(c for c, n in counts.items() if n >= limit))
    bigrams = Vocab.from_texts(["abab ab", "cd cd", "efg"], UnitsConfig(kind="bigram", min_count=3))
    assert [s for s in bigrams.symbols[1:] if len(s) == 2] == ["ab"]


def test_chinese_characters_are_single_symbols_with_all_units(vocab):
    symbols = encode_to_symbols(vocab, "我用ipad看 书")
    assert symbols[:2] == ["我", "用"] and symbols[-3:] == ["看", " ", "书"]
    assert "".join(symbols[2:-3]) == "ipad"
    assert not any(len(s) > 1 and set(s) & set("我用看书 ") for s in vocab.symbols[1:])


@pytest.mark.parametrize("text", ["", " ", "  ", "a", "é", "'", "the cat sat", " a  b ", "我a用", "éétédon'tthe" * 20])
def test_round_trip(vocab, text):
    text = text.replace("b", "m")
    assert vocab.decode(vocab.encode(text)) == text


@pytest.mark.parametrize("seed", range(20))
def test_round_trip_of_random_texts_and_one_encoding_per_word(vocab, seed):
    rng = np.random.default_rng(seed)
    letters = sorted(set("".join(TEXTS)) - set("我用看书 "))
    words = ["".join(rng.choice([*letters, *"我书"], rng.integers(1, 12))) for _ in range(8)]
    text = (" " * int(rng.integers(1, 3))).join(words)
    assert vocab.decode(vocab.encode(text)) == text
    space = vocab.encode(" ")
    ids = [i for word in words for i in (*space, *vocab.encode(word))][1:]
    assert vocab.encode(" ".join(words)) == ids
    # a network may output any symbol sequence
    output = rng.integers(0, len(vocab), 30).tolist()
    assert vocab.decode(vocab.encode(vocab.decode(output))) == vocab.decode(output)


@pytest.mark.parametrize("kind", ["bigram", "bpe", "unigram"])
def test_different_words_have_different_encodings(kind):
    vocab = Vocab.from_texts(TEXTS, KINDS[kind])
    words = sorted({word for text in TEXTS for word in text.split()})
    assert len({tuple(vocab.encode(word)) for word in words}) == len(words)
    if kind == "bigram":
        for word in (w for w in words if w.isascii()):
            assert [len(s) for s in encode_to_symbols(vocab, word)] == [2] * (len(word) // 2) + [1] * (len(word) % 2)


def test_the_first_character_without_a_symbol_is_named(vocab):
    for text, named in (("catß", "ß"), ("xß", "x"), ("the 中x", "中"), ("aßéx", "ß"), ("a\tb", "\\\\t")):
        with pytest.raises(
            BadUtterance, match=f"^unspellable: '{named}' in .* is not among the network's {len(vocab)} symbols"
        ):
            vocab.encode(text)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_pieces_are_not_confused_with_blank_space_or_unk(kind, tmp_path):
    texts = ["<blank> <space> <unk> <s> </s>"] * 9
    vocab = Vocab.from_texts(texts, UnitsConfig(kind=kind, size=40))
    assert vocab.decode(vocab.encode(texts[0])) == texts[0] and 0 not in vocab.encode(texts[0])
    vocab.save(tmp_path / "tokens.txt")
    assert Vocab.load(tmp_path / "tokens.txt") == vocab


def test_characters_reserved_by_sentencepiece_are_encoded():
    texts = ["a▁b ▁ a▅ b\x07 ab"] * 3
    vocab = Vocab.from_texts(texts, UnitsConfig(kind="bpe", size=9))
    assert vocab.decode(vocab.encode(texts[0])) == texts[0]


def test_round_trip_through_files_json_and_pickle(vocab, tmp_path):
    vocab.encode("the")
    vocab.save(tmp_path / "tokens.txt")
    lines = (tmp_path / "tokens.txt").read_text("utf-8").splitlines()
    assert lines[:2] == ["<blank>", "<space>"] and len(lines) == len(vocab)
    assert (tmp_path / PIECES).is_file() == bool(vocab.pieces)
    for other in (
        Vocab.load(tmp_path / "tokens.txt"),
        Vocab.from_json(vocab.as_json()),
        pickle.loads(pickle.dumps(vocab)),
    ):
        assert other == vocab and other.encode("the mat") == vocab.encode("the mat")


@pytest.mark.parametrize("kind", ["char", "bigram"])
def test_any_symbols_survive_tokens_txt_which_has_one_visible_line_for_each(kind, tmp_path):
    texts = [
        "a\nb\r\tc",
        "d\u2028e\u2029\x85\x0b\x0c\x1c",
        "\ufefff\u200b\u200d\u00ad\u202e",
        "\u00a0\u3000",
        "<U+000A><U+2028>",
    ]
    texts += ["<space>", "<blank>", "<U+", "\\n", "क्‍ष", "e\u0301", "\U0001f600\ufe0f", "\ue000\x00\x7f"]
    vocab = Vocab.from_texts(texts, KINDS[kind])
    vocab.save(tmp_path / "tokens.txt")
    saved = (tmp_path / "tokens.txt").read_text("utf-8")
    assert all(line.isprintable() and line for line in saved.split("\n")[:-1])
    assert len(saved.splitlines()) == len(vocab) and Vocab.load(tmp_path / "tokens.txt") == vocab


@pytest.mark.parametrize(
    "symbol", ["<space>", "<blank>", "<U+0041>", "<U+0041", "<U+D800>", "<U+110000>", "<U+10ffff>"]
)
def test_a_symbol_that_looks_like_an_escape_is_not_one(symbol):
    assert parse_symbol(format_symbol(symbol)) == symbol
    assert format_symbol("\u2028a ") == "<U+2028>a<U+0020>" and parse_symbol("<U+2028>a<U+0020>") == "\u2028a "


def test_lists_of_older_versions_and_other_editors_are_read(tmp_path):
    for text in (
        "<blank>\n<space>\na\u2028\n\x85\n",
        "<blank>\r\n<space>\r\na\u2028\r\n\x85",
        "\ufeff<blank>\n<space>\na\u2028\n\x85",
    ):
        (tmp_path / "tokens.txt").write_bytes(text.encode())
        assert Vocab.load(tmp_path / "tokens.txt").symbols == (BLANK, " ", "a\u2028", "\x85")
    (tmp_path / "tokens.txt").write_text("<blank>\na\n\n\nb\n")
    with pytest.raises(DataError, match=r"tokens\.txt: line 3 is empty, expected one symbol per line$"):
        Vocab.load(tmp_path / "tokens.txt")


@pytest.mark.parametrize(
    ("texts", "single"),
    [
        (["yes", "no"], True),
        (["yes no"], False),
        (["打开"], False),
        (["เปิด"], False),
        (["かな"], False),
        (["да", "예"], True),
    ],
)
def test_texts_without_spaces_are_single_words_in_a_script_with_spaces(texts, single):
    assert Vocab.from_texts(texts).single_words == single


def test_saving_removes_an_older_sentencepiece_model(tmp_path):
    for kind in ("bpe", "bigram"):
        Vocab.from_texts(TEXTS, KINDS[kind]).save(tmp_path / "tokens.txt")
    assert not (tmp_path / PIECES).exists()
    assert Vocab.load(tmp_path / "tokens.txt") == Vocab.from_texts(TEXTS, KINDS["bigram"])


def test_json_of_character_units_contains_only_symbols():
    vocab = Vocab.from_texts(TEXTS)
    assert vocab.as_json() == {"symbols": list(vocab.symbols)} and vocab.by_character and not vocab.pieces
    assert Vocab.from_json({"symbols": list(vocab.symbols)}) == vocab


def test_settings_that_contradict_the_texts():
    with pytest.raises(UsageError, match="expected at least 5, the number of letters in the texts, got 3"):
        Vocab.from_texts(["abcde 中"], UnitsConfig(kind="bpe", size=3))
    with pytest.raises(UsageError, match="no words"):
        Vocab.from_texts(["中 文"], UnitsConfig(kind="unigram", size=3))
    with pytest.raises(UsageError, match="needs the number"):
        Vocab.from_texts(["abc"], UnitsConfig(kind="bpe"))


@pytest.mark.parametrize("lines", ["", "a\n<blank>\n", "<blank>\na\na\n", 9 * f"{'x' * 99}\n"])
def test_an_invalid_list_of_symbols_is_refused_in_a_short_line(tmp_path, lines):
    (tmp_path / "tokens.txt").write_text(lines)
    with pytest.raises(
        DataError, match=r"tokens\.txt: vocabulary: expected <blank> first .* got '.{,30}'( more than once)?$"
    ):
        Vocab.load(tmp_path / "tokens.txt")


def test_a_damaged_model_is_refused(tmp_path):
    Vocab.from_texts(TEXTS, KINDS["bpe"]).save(tmp_path / "tokens.txt")
    (tmp_path / PIECES).write_bytes(b"not a model")
    with pytest.raises(DataError, match="sentencepiece model is damaged"):
        Vocab.load(tmp_path / "tokens.txt")


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_list_of_symbols_that_an_editor_of_windows_saved(tmp_path, codec, line_end):
    (tmp_path / "tokens.txt").write_bytes(line_end.join([BLANK, "<space>", "é", ""]).encode(codec))
    assert Vocab.load(tmp_path / "tokens.txt").symbols == (BLANK, " ", "é")
