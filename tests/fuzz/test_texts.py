"""Fuzz the rules for texts, language by language, and what is made of texts: numbers, language models, error rates."""

import json
from pathlib import Path

import pytest
from fuzzing import allowed_errors, check_counts, ds2, fuzz
from hypothesis import strategies as st
from inputs import ENCODINGS, LINE_ENDS, TEXTS, encode

from ds2cli.config.units import UnitsConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.metrics.text_form import normalize_or_reduce
from ds2cli.text.characters import find_invisible, unify
from ds2cli.text.normalize import TextRules, normalize
from ds2cli.text.numbers import spell_numbers
from ds2cli.text.profiles import is_language_tag
from ds2cli.text.vocab import Vocab
from ds2cli.train.lint import TextLint, clean_text

LANGUAGES = ["en", "de", "tr", "az", "fr", "ca", "fa", "ar", "hi", "th", "zh", "ja", "ko", "he", "el", "nl", "lt", "xx"]
LETTERS = {
    "fa": "می‌خواهم کتاب‌ها آئهؤ",
    "ar": "ـشكرا ﷺ ٱلله ١٢",
    "hi": "क्‍ष र्‍य नमस्ते ९",
    "tr": "İıIi şğ",
    "fr": "l'été «œuvre» d’",
    "ca": "col·legi l·l",
    "he": "צה\"ל ג'ירפה שָׁלוֹם",
    "ko": "한국어 ㅋㅋ ᄒ",
    "ja": "ｶﾞギｮﾝ 〇一々",
    "th": "น้ำ กา เเ",
    "zh": "你好，世界。３",
    "el": "Σίσυφος ΟΔΟΣ ΐ",
}
LANGUAGE_TEXTS = st.sampled_from(LANGUAGES).flatmap(
    lambda lang: st.tuples(
        st.just(lang),
        st.one_of(TEXTS, st.text(st.sampled_from(LETTERS.get(lang, "aé1") + " '’\u200d\u200c.-1"), max_size=20)),
    )
)


@fuzz(LANGUAGE_TEXTS, st.sampled_from(["refuse", "spell"]))
def test_a_normalized_text_is_its_own_normal_form(language_text, numbers):
    lang, text = language_text
    with allowed_errors():
        clean = normalize(text, lang, numbers=numbers)
        assert normalize(clean, lang) == clean
        assert clean == " ".join(clean.split())
        assert not find_invisible(clean) or lang in ("fa", "hi", "ar"), ascii(clean)


@fuzz(TEXTS, TEXTS)
def test_a_language_may_be_any_text(text, lang):
    with allowed_errors():
        normalize(text, lang, numbers="spell")
    with allowed_errors():
        TextRules.of(SomeSettings(lang.replace("\n", " "))).normalize(text, lang)
    is_language_tag(lang)


class SomeSettings:
    """Settings with the options of texts."""

    def __init__(self, lang):
        self.lang, self.numbers, self.remove_tags = lang, "spell", lang


@fuzz(LANGUAGE_TEXTS)
def test_the_other_readers_of_texts(language_text):
    lang, text = language_text
    assert unify(unify(text)) == unify(text)
    normalize_or_reduce(text, lang)
    lint = TextLint()
    lint.add(text)
    assert all(str(finding) for finding in lint.findings("training"))
    with allowed_errors():
        clean_text(text)
    with allowed_errors():
        spell_numbers(text, lang)


@fuzz(st.lists(TEXTS, max_size=5), st.sampled_from(["char", "bigram", "bpe", "unigram"]), st.integers(1, 40))
def test_an_alphabet_made_of_texts_spells_them(texts, kind, size):
    texts = [text for text in texts if text.isprintable()]
    try:
        vocab = Vocab.from_texts(texts, UnitsConfig(kind=kind, size=size if kind in ("bpe", "unigram") else None))
        vocab.save("tokens.txt")
    except UsageError as e:
        assert "\n" not in str(e)
        return
    assert Vocab.load("tokens.txt") == vocab
    for text in texts:
        assert vocab.decode(vocab.encode(text)) == text


@fuzz(st.lists(TEXTS, max_size=6), ENCODINGS, LINE_ENDS, st.integers(1, 3), st.sampled_from(["word", "char"]))
def test_a_language_model_of_any_text(lines, encoding, end, order, unit):
    Path("text.txt").write_bytes(encode(end.join(lines), encoding))
    run = ds2("lm", "text.txt", "out.arpa", "--order", order, "--unit", unit, "--max-bad", 100, "--estimator", "own")
    assert Path("out.arpa").exists() == (run.status == 0)
    if run.status == 0:
        assert ds2("lm", "info", "out.arpa", "text.txt", "--max-bad", 100).status == 0


@fuzz(st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from(LANGUAGES)), min_size=1, max_size=5), st.booleans())
def test_error_rates_of_any_texts(pairs, normalized):
    rows = [{"id": f"u{i}", "text": t, "pred_text": p, "lang": lang} for i, (t, p, lang) in enumerate(pairs)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--normalizer", "prepare"] if normalized else []
    run = ds2("score", "in.jsonl", "out.jsonl", "--worst", 9, "--confusions", 9, "--max-bad", 100, *options)
    check_counts(run, "out.jsonl", len(rows))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_texts_of_a_language_are_readable(lang):
    try:
        assert normalize(LETTERS.get(lang, "hello world"), lang) or lang
    except BadUtterance as e:
        assert e.reason in ("digits", "symbols")
