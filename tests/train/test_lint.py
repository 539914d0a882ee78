"""What is found in the texts of a training run."""

from __future__ import annotations

import unicodedata

import pytest

from ds2cli.errors import BadUtterance
from ds2cli.text.normalize import normalize
from ds2cli.text.vocab import Vocab
from ds2cli.train.lint import TextLint, check_dev_texts, clean_text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a b", "a b"), ("a b\n", "a b"), (" a\r\n  b\t", "a b"), ("a\u2028b\u2029c", "a b c"),
        ("a\x85b\x0bc\x1cd", "a b c d"), ("a\u00a0b\u3000c", "a b c"), ("", ""), ("\n", ""),
        ("می\u200cخواهم", "می\u200cخواهم"), ("a\u200bb", "a\u200bb"),
    ],
)  # fmt: skip
def test_all_white_space_is_one_space(text, clean):
    assert clean_text(text) == clean


@pytest.mark.parametrize(
    ("text", "reason", "named"),
    [
        ("the\x00cat", "control-characters", r"U\+0000 in 'the\\x00cat'"),
        ("a \x1b[31mb", "control-characters", r"U\+001B"),
        ("a\x7f", "control-characters", r"U\+007F"),
        ("a\x9fb", "control-characters", r"U\+009F"),
        ("na\ufffdve", "not-utf8", "undecodable"),
        ("a\ud800", "not-utf8", "half a surrogate pair"),
    ],
)
def test_characters_that_show_a_damaged_text_drop_the_utterance(text, reason, named):
    with pytest.raises(BadUtterance, match=f"^{reason}: {named}"):
        clean_text(text)


def findings(*texts):
    lint = TextLint()
    for text in texts:
        lint.add(text)
    found = {finding.kind: str(finding) for finding in lint.findings("training")}
    assert ("space" in found) == bool(texts and not any(len(text.split()) > 1 or "打" in text for text in texts))
    return {kind: message for kind, message in found.items() if kind != "space"}


def test_unusual_texts_are_counted():
    assert not findings(
        "it's one", "الف با", "क्‍ष", "می\u200cخواهم", unicodedata.normalize("NFC", "tiếng việt"), "我 用", ""
    )
    found = findings("a\n", "b  c", "d\u2028e", " f", "g")
    assert found == {
        "white space": "4 of 5 training texts have line breaks, tabs or more than one space: each is read as one space "
        "(ds2 data fix, which cleans the texts of a manifest)"
    }
    found = findings("a\u200bb\u200bc", "\ufeffx\u200b", "so\u00adft", "a", "i\u200dj", "❤\ufe0f")
    assert list(found) == ["invisible"] and found["invisible"].startswith(
        "5 of 6 training texts have invisible characters, each a symbol to the network: U+200B (2), "
    )
    assert found["invisible"].endswith(", U+FE0F (1) (ds2 data fix, which cleans the texts of a manifest)")
    found = findings(unicodedata.normalize("NFD", "tiếng việt"), "é")
    assert list(found) == ["Unicode form"] and found["Unicode form"].startswith("1 of 2 training texts are not in Unic")
    found = findings("it's", "it’s", "don’t", "x")
    assert (
        list(found) == ["apostrophe"]
        and "2 kinds, each a symbol to the network: '’' (2), \"'\" (1)" in found["apostrophe"]
    )


@pytest.mark.parametrize("text", ["a\n", "b  c", "d\u2028e", "x\ufeff", "a\u200bb", "so\u00adft", "e\u0301", "it’s"])
def test_the_named_fix_helps(text):
    """`ds2 data fix` normalizes texts."""
    assert findings(text, "it's") and not findings(normalize(text), "it's")


def test_single_words_are_told_as_the_network_will_not_write_a_space():
    lint = TextLint()
    for text in ("one", "two", ""):
        lint.add(text)
    (finding,) = lint.findings("training")
    assert str(finding) == (
        "each of the 3 training texts is one word: the network will not write a space "
        "(as it should for digits and commands)"
    )
    assert not list(lint.findings("dev"))
    assert not findings("one", "two three") and not findings("打开", "打") and not findings()


LOWER = Vocab.from_texts(["the quick brown fox jumps over the lazy dog's tail"])


def test_dev_texts_that_the_network_can_write_are_no_finding():
    assert check_dev_texts(LOWER, ["dogs bark", "", "it's"]) == [] == check_dev_texts(LOWER, [])


@pytest.mark.parametrize(
    ("texts", "kind", "fatal", "counts"),
    [
        (["THE FOX", "the dog"], "case", True, "2 of 4 dev words (in 1 of 2 texts), such as 'THE'"),
        (["The " + 20 * "fox "], "case", False, "1 of 21 dev words (in 1 of 1 texts), such as 'The'"),
        (["the dog’s tail"], "apostrophe", True, "1 of 3 dev words (in 1 of 1 texts), such as 'dog’s'"),
        (["é è fox", "dog"], "other", True, "2 of 4 dev words (in 1 of 2 texts), such as 'é'"),
        (["é fox dog", "dog"], "other", False, "1 of 4 dev words (in 1 of 2 texts), such as 'é'"),
    ],
)
def test_dev_words_that_the_network_cannot_write_are_counted(texts, kind, fatal, counts):
    (finding,) = check_dev_texts(LOWER, texts)
    assert (finding.kind, finding.fatal) == (kind, fatal) and f"the network cannot write {counts}: its 29 " in str(
        finding
    )
    assert ("differs between training and dev texts" in finding.message) == (kind != "other")


def test_another_unicode_form_of_either_side():
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        vocab = Vocab.from_texts([unicodedata.normalize(form, "tiếng việt")])
        (finding,) = check_dev_texts(vocab, [unicodedata.normalize(other, "việt tiếng")])
        assert (finding.kind, finding.fatal) == ("Unicode form", True) and "2 of 2 dev words" in finding.message


def test_the_worst_comes_first_and_units_of_several_letters_are_understood():
    kinds = [finding.kind for finding in check_dev_texts(LOWER, [f"Fox {18 * 'dog '}ß", "THE", "OF"])]
    assert kinds == ["case", "other"]
    from ds2cli.config.units import UnitsConfig

    bigrams = Vocab.from_texts(["the quick brown fox"], UnitsConfig(kind="bigram"))
    assert check_dev_texts(bigrams, ["hobo"]) == [] and check_dev_texts(bigrams, ["zoo"])[0].fatal


def test_a_network_of_single_words_cannot_write_two():
    vocab = Vocab.from_texts(["one", "two", "three"])
    assert check_dev_texts(vocab, ["two", "one"]) == []
    (finding,) = check_dev_texts(vocab, ["two", "one three", "three", "one"])
    assert finding.kind == "space" and not finding.fatal and "write 1 of 4 dev texts" in finding.message
    assert check_dev_texts(vocab, ["two one", "one"])[0].fatal
