"""Splits of texts into characters, mixed units and tokens."""

import io
import re
import sys
import time
import unicodedata
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2cli.config.units import UnitsConfig
from ds2cli.errors import DataError
from ds2cli.metrics.alignment import align_characters
from ds2cli.metrics.unit_split import HAN, join_characters, mixed_units, token_units
from ds2cli.metrics.wer import characters
from ds2cli.text.vocab import TOKENS, Vocab

is_han = re.compile(f"[{HAN}]").fullmatch
anything = st.text(st.characters() | st.sampled_from(" \t\u3000\u2028中文𠀀々〇ab\ud800\udfff\U000e0100"))


@pytest.mark.parametrize(
    ("text", "joined", "without"),
    [
        ("", "", ""),
        ("  turn\ton \n it ", "turn on it", "turnonit"),
        ("你 好 世 界", "你好世界", "你好世界"),
        ("打开 bluetooth 设备 now please", "打开bluetooth设备now please", "打开bluetooth设备nowplease"),
        ("人 々 〇 𠀀 㐀 豈 〆 x", "人々〇𠀀㐀豈〆 x", "人々〇𠀀㐀豈〆x"),
        ("全\u3000角 été là", "全角été là", "全角étélà"),
        ("か な", "か な", "かな"),
        ("한국 어", "한국 어", "한국어"),
        ("中 \ud800 a", "中\ud800 a", "中\ud800a"),
    ],
)
def test_spaces_between_characters(text, joined, without):
    assert (join_characters(text), join_characters(text, spaces=False)) == (joined, without)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("", []),
        (" the  cat ", ["the", "cat"]),
        ("打开bluetooth 设备", ["打", "开", "bluetooth", "设", "备"]),
        ("三x 四y", ["三", "x", "四", "y"]),
        ("葛\U000e0100城 été", ["葛\U000e0100", "城", "été"]),
        ("안녕 か な", ["안녕", "か", "な"]),
        ("中\u2028a\x1cb", ["中", "a", "b"]),
    ],
)
def test_mixed_units(text, units):
    assert mixed_units(text) == units


@given(anything)
def test_characters_agree_with_a_plain_reference(text):
    kept, collapsed = [], " ".join(text.split())
    for i, c in enumerate(collapsed):
        beside = collapsed[max(0, i - 1) : i] + collapsed[i + 1 : i + 2]
        if not (c == " " and any(map(is_han, beside))):
            kept.append(c)
    assert join_characters(text) == "".join(kept)
    assert join_characters(text, spaces=False) == "".join(c for c in collapsed if c != " ")
    if not any(map(is_han, text)):
        assert list(join_characters(text)) == characters(text) and mixed_units(text) == text.split()


@settings(deadline=None)
@given(st.lists(anything, max_size=4))
def test_the_kernels_of_many_texts_have_the_same_characters(texts):
    for spaces in (True, False):
        found = align_characters(texts, texts, spaces=spaces)
        joined = [join_characters(text, spaces) for text in texts]
        assert "".join(map(found.names.__getitem__, found.refs.ids.tolist())) == "".join(joined)
        assert found.refs.ends.tolist() == list(accumulate(map(len, joined)))


@given(anything)
def test_mixed_units_lose_nothing_and_hold_one_chinese_character_at_most(text):
    units = mixed_units(text)
    assert "".join(units) == "".join(text.split())
    for unit in units:
        assert sum(1 for c in unit if is_han(c)) in ((1,) if is_han(unit[0]) else (0,))
        assert not is_han(unit[0]) or all("VARIATION SELECTOR" in unicodedata.name(c) for c in unit[1:])


def test_chinese_characters_are_those_of_unicode():
    regex = pytest.importorskip("regex", reason="the package regex knows Unicode's scripts")
    script = regex.compile(r"\p{Script=Han}")
    differ = [c for c in map(chr, range(sys.maxunicode + 1)) if bool(is_han(c)) != bool(script.fullmatch(c))]
    assert [f"{ord(c):x}" for c in differ if unicodedata.category(c) != "Cn"] == []


@pytest.fixture(params=["char", "bigram", "bpe"])
def vocab(request):
    texts = ["the cat sat on the mat", "it's the hat", "a 中 b"]
    return Vocab.from_texts(texts, UnitsConfig(kind=request.param, size=22 if request.param == "bpe" else None))


def test_tokens_of_an_experiment_are_the_symbols_of_its_network(vocab, tmp_path):
    vocab.save(tmp_path / TOKENS)
    split = token_units(str(tmp_path / TOKENS))
    for text in ("the cat sat on the mat", "a 中 b it's", "hat", ""):
        assert split(text) == [vocab.symbols[i] for i in vocab.encode(text)]
    assert split(" the\t cat ") == split("the cat")
    assert token_units(str(tmp_path))("the mat") == split("the mat")
    assert token_units("somewhere", lambda _: vocab)("a hat") == split("a hat")


@given(anything)
def test_no_text_is_beyond_the_tokens(text):
    vocab = Vocab.from_texts(["the cat"], UnitsConfig(kind="bigram"))
    units = token_units("", lambda _: vocab)(text)
    assert "".join(units) == " ".join(text.split()) and "" not in units
    assert all(unit in vocab.symbols or len(unit) == 1 for unit in units)


def test_tokens_of_a_sentencepiece_model(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat", "the hat"] * 20),
        model_writer=model,
        vocab_size=15,
        minloglevel=2,
    )
    path = tmp_path / "bpe.model"
    path.write_bytes(model.getvalue())
    split = token_units(str(path))
    assert split("the cat")[0].startswith("▁") and "".join(split("the cat")) == "▁the▁cat"
    assert "".join(split("the 中")) == "▁the▁中" and split("") == [] and len(split("a\ud800b")) == 3
    path.write_bytes(b"the cat")
    with pytest.raises(DataError, match=r"bpe\.model: not a SentencePiece model"):
        token_units(str(path))
    with pytest.raises(DataError, match=r"absent\.model: "):
        token_units(str(tmp_path / "absent.model"))


def test_texts_without_chinese_are_split_quickly():
    # 0.1 s for 100,000 texts of 75 characters when nothing else runs; the limit is for busy machines
    texts = ["the quick brown fox jumps over the lazy dog and then it rests in the shade"] * 10_000
    start = time.process_time()
    for text in texts:
        join_characters(text)
    assert time.process_time() - start < 0.2
