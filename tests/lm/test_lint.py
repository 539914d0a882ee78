"""Language models and networks that match, and those that do not."""

import itertools
import subprocess
import time
import unicodedata

import numpy as np
import pytest

from ds2cli.config.units import UnitsConfig
from ds2cli.lm.lint import group_mismatches, lint
from ds2cli.text.vocab import BLANK, Vocab

ENGLISH = Vocab.from_texts(["abcdefghijklmnopqrstuvwxyz '"])
FRENCH = Vocab.from_texts(["abcdefghijklmnopqrstuvwxyz 'éèà"])
SPECIAL_TOKENS = {"<unk>": 1e-3, "<s>": 1.0, "</s>": 0.1}
PROSE = {"the": 6.0, "and": 3.0, "of": 2.5, "it's": 0.4, "rose": 0.1}
PHRASE = {"été": 1.0, "déjà": 1.0, "la": 2.0, "l'air": 1.0}


def findings(vocab, weights, references=None):
    weights = {**SPECIAL_TOKENS, **weights}
    return lint(vocab, list(weights), np.log(list(weights.values())), references)


def only_finding(vocab, weights, references=None):
    (finding,) = findings(vocab, weights, references)
    return finding


def nfd(text):
    return unicodedata.normalize("NFD", text)


def test_no_findings_when_they_fit():
    assert findings(ENGLISH, PROSE, ["the rose", "it's the rose"]) == []
    assert findings(FRENCH, PHRASE, ["la la l'air"]) == []


def test_upper_case_model():
    finding = only_finding(ENGLISH, {w.upper(): p for w, p in PROSE.items()})
    assert (finding.kind, finding.fatal) == ("case", True)
    assert str(finding).startswith(
        "the case differs: the network cannot write 100.0 % of the model's running words, "
        "such as 'THE', 'AND', 'OF' (it can write 'the') (sed"
    )


def test_the_suggested_fix_of_an_upper_case_model_works(estimate_lm, tmp_path):
    from ds2cli.lm import arpa
    from ds2cli.lm.query import NgramLm

    path = tmp_path / "MODEL.arpa"
    path.write_text("".join(arpa.lines(estimate_lm("THE ROSE\nTHE AIR\n", 2))).replace("<unk>", "<UNK>"))
    lm = NgramLm.load(str(path))
    (finding,) = lint(ENGLISH, lm.words, lm.unigrams())
    subprocess.run(["bash", "-c", finding.fix], cwd=tmp_path, check=True)
    corrected = NgramLm.load(str(tmp_path / "lower.arpa"))
    assert lint(ENGLISH, corrected.words, corrected.unigrams()) == []
    assert corrected.sentence_log10("the air") == pytest.approx(lm.sentence_log10("THE AIR"))


def test_words_in_both_cases_cannot_be_fixed_in_place():
    finding = only_finding(ENGLISH, {**PROSE, "The": 4.0, "And": 1.0})
    assert finding.fatal
    assert "such as 'The', 'And' (it can write 'the')" in finding.message
    assert finding.fix.startswith("ds2 lm TEXT")
    assert not only_finding(ENGLISH, {**PROSE, "The": 0.5}).fatal
    # both would become the same word
    assert only_finding(ENGLISH, {"THE": 2.0, "The": 1.0}).fix.startswith("ds2 lm TEXT")


def test_upper_case_network():
    finding = only_finding(Vocab.from_texts(["THEANDOFROSI '"]), PROSE)
    assert (finding.kind, finding.fatal) == ("case", True)
    assert "(it can write 'THE')" in finding.message
    assert finding.fix.startswith("ds2 lm TEXT")


@pytest.mark.parametrize("composed", [True, False])
def test_unicode_forms(composed):
    vocab = FRENCH if composed else Vocab((BLANK, *sorted(set(nfd("".join(FRENCH.symbols[1:]))))))
    finding = only_finding(vocab, {nfd(w) if composed else w: p for w, p in PHRASE.items()})
    assert (finding.kind, finding.fatal) == ("Unicode form", True)
    assert "the Unicode form differs: the network cannot write 40.0 %" in finding.message


def test_curly_apostrophes():
    weights = {w.replace("'", "’"): p for w, p in PROSE.items()}
    finding = only_finding(ENGLISH, weights)
    assert (finding.kind, finding.fatal) == ("apostrophe", False)
    assert "the apostrophe differs: the network cannot write 3.3 % of the model's running words" in finding.message
    assert "such as 'it’s' (it can write \"it's\")" in finding.message
    assert finding.fix.startswith('sed "s/’/\'/g" MODEL.arpa')
    assert only_finding(ENGLISH, {**weights, "it's": 0.1}).fix.startswith("ds2 lm")
    curly = Vocab.from_texts(["abcdefghijklmnopqrstuvwxyz ’"])
    assert '"s/\'/’/g"' in only_finding(curly, PROSE).fix


def test_two_mismatches_of_one_word_are_separate_findings():
    case, apostrophe = findings(ENGLISH, {"THE": 6.0, "IT’S": 1.0, "ROSE": 3.0})
    assert (case.kind, apostrophe.kind) == ("case", "apostrophe")
    assert "'THE'" in case.message and "'IT’S' (it can write \"it's\")" in apostrophe.message
    assert apostrophe.fix == 'sed "s/’/\'/g" MODEL.arpa > fixed.arpa'


def test_another_alphabet():
    finding = only_finding(ENGLISH, {"роза": 1.0, "мир": 2.0})
    assert (finding.kind, finding.fatal) == ("other", True)
    assert (
        "the alphabets differ: the network cannot write 100.0 % of the model's running words, such as 'мир', 'роза'"
        in finding.message
    )
    assert "the network has no 'р'" in finding.message


def test_rare_foreign_words_are_ignored():
    assert findings(ENGLISH, {**PROSE, "façade": 0.1}) == []
    finding = only_finding(ENGLISH, {**PROSE, "façade": 1.0})
    assert not finding.fatal
    assert "the network has no 'ç'" in finding.message


@pytest.mark.parametrize(("word", "warned", "fatal"), [("The", 0.001, 0.1), ("ñandú", 0.05, 0.5)])
def test_the_shares_from_which_a_mismatch_is_a_warning_and_fatal(word, warned, fatal):
    def is_fatal(share):
        return [f.fatal for f in findings(ENGLISH, {"the": 1 - share, word: share})]

    assert is_fatal(0.95 * warned) == []
    assert is_fatal(1.05 * warned) == is_fatal(0.95 * fatal) == [False]
    assert is_fatal(1.05 * fatal) == [True]


def test_words_of_zero_probability_count():
    weights = {"<unk>": -230.0, "<s>": 0.0, "xы": -800.0}
    (finding,) = lint(ENGLISH, list(weights), np.array(list(weights.values())))
    assert finding.fatal


def test_a_model_without_words():
    assert only_finding(ENGLISH, {}).message == "the model has no words"


def test_word_model_for_a_network_without_a_space():
    finding = only_finding(Vocab.from_texts(["打开关闭"]), dict.fromkeys(["打开", "关闭"], 1.0))
    assert finding.fatal
    assert (
        "this network writes no spaces, so it cannot tell the words of the model apart: use a char" in finding.message
    )
    assert finding.fix == "ds2 lm TEXT… OUT --unit char"


def test_a_word_model_fits_a_network_of_single_words_and_texts_of_several_are_told():
    digits, model = Vocab.from_texts(["one", "two", "three"]), dict.fromkeys(["one", "two", "three"], 1.0)
    assert findings(digits, model) == [] == findings(digits, model, ["two", "one"])
    (finding,) = findings(digits, model, ["two one", "one"])
    assert finding.kind == "references" and finding.fatal and "cannot write 1 of 2 references" in finding.message


def letters(text):
    return dict.fromkeys(["<space>" if c == " " else c for c in text], 1.0)


def test_character_models():
    assert findings(ENGLISH, letters("abcdefghijklmnopqrstuvwxyz '")) == []
    assert only_finding(ENGLISH, letters("ABCDEFGHIJKLMNOPQRSTUVWXYZ '")).kind == "case"
    finding = only_finding(ENGLISH, letters("abc"))
    assert finding.fatal
    assert "the model lacks 25 of the network's 28 symbols, such as '<space>'" in finding.message
    no_space = only_finding(ENGLISH, letters("abcdefghijklmnopqrstuvwxyz'"))
    assert not no_space.fatal
    assert "lacks 1 of the network's 28 symbols, such as '<space>'" in no_space.message
    # a rare letter may occur in no text
    assert findings(ENGLISH, letters("abcdefghijklmnopqrstuvwxy '")) == []
    assert not only_finding(ENGLISH, letters("abcdefghijklmnopqrstuvwx '")).fatal


def test_token_models():
    vocab = Vocab((BLANK, " ", "a", "b", "ab", "ba"))
    model = dict.fromkeys(["<space>", "a", "b", "ab", "ba"], 1.0)
    assert findings(vocab, model, ["ab ab", "a"]) == []
    unknown = only_finding(vocab, {t: 1.0 for t in model if t != "ab"}, ["ab ab", "a"])
    assert unknown.message.startswith(
        "50.0 % of the references' 4 running tokens are out of vocabulary, such as 'ab' (2)"
    )
    symbols, _ = findings(vocab, {t: 1.0 for t in model if t not in ("ab", "ba", "b")}, ["ab ab", "a"])
    assert "the model lacks 3 of the network's 5 symbols, such as 'b', 'ab', 'ba'" in symbols.message
    (unwritable,) = findings(vocab, model, ["ab", "x"])
    assert "the network cannot write 1 of 2 references" in unwritable.message and unwritable.fatal
    assert not only_finding(vocab, model, ["ab", "x", "ab"]).fatal
    words = dict.fromkeys(["ab", "abba", "aab", "xa"], 1.0)
    assert "such as 'xa'; the network has no 'x'" in only_finding(vocab, words).message


def test_character_model_for_a_network_of_bigrams():
    text = "the quick brown fox jumps over the lazy dog while seven wizards mix jugs of vodka by night and play chess"
    vocab = Vocab.from_texts([text], UnitsConfig(kind="bigram"))
    finding = only_finding(vocab, letters(text))
    assert finding.fatal and "the model lacks 33 of the network's 60 symbols" in finding.message
    assert finding.fix.startswith("ds2 lm TEXT… OUT --unit token --vocab EXP")
    assert findings(vocab, letters(text) | dict.fromkeys(vocab.symbols[2:], 1.0)) == []
    dense = Vocab.from_texts([text.replace(" ", "") + "打"], UnitsConfig(kind="bigram"))
    assert only_finding(dense, PROSE).fix == "ds2 lm TEXT… OUT --unit token --vocab EXP"


def test_word_model_whose_words_are_also_pieces_of_the_network():
    vocab = Vocab.from_texts(["one two", "two one"] * 3, UnitsConfig(kind="unigram", size=10))
    assert {"one", "two"} <= set(vocab.symbols)
    assert findings(vocab, {"one": 1.0, "two": 1.0}, ["one two"]) == []


def test_oov_words_of_the_references():
    finding = only_finding(ENGLISH, PROSE, ["the rose of york", "york and the rose", "of lancaster"])
    assert (finding.kind, finding.fatal) == ("unknown", False)
    assert (
        "30.0 % of the references' 10 running words are out of vocabulary, such as 'york' (2), 'lancaster' (1)"
        in finding.message
    )
    assert only_finding(ENGLISH, PROSE, ["york lancaster the"]).fatal
    assert findings(ENGLISH, PROSE, ["the rose " * 20 + "york"]) == []
    # the limits themselves
    assert only_finding(ENGLISH, PROSE, ["the york"]).fatal
    assert not only_finding(ENGLISH, PROSE, ["the " * 19 + "york"]).fatal


def test_what_is_fatal_comes_first():
    kinds = [(f.kind, f.fatal) for f in findings(ENGLISH, {**PROSE, "The": 0.5}, ["york lancaster the"])]
    assert kinds == [("unknown", True), ("case", False)]


def test_references_in_another_case():
    case, unwritable = findings(ENGLISH, PROSE, ["THE ROSE"])
    assert case.fatal and unwritable.fatal
    assert "the case differs: 100.0 % of the references' 2 running words are out of vocabulary" in case.message
    assert "('the' is in the vocabulary)" in case.message
    assert (
        "the network cannot write 100.0 % of the references' 2 running words, such as 'THE', 'ROSE'"
        in unwritable.message
    )
    assert case.fix.startswith("ds2 data fix") and unwritable.fix.startswith("ds2 data fix")


def test_model_in_another_case_is_reported_once():
    """What is wrong with the model is not reported again for the references."""
    assert only_finding(ENGLISH, {w.upper(): p for w, p in PROSE.items()}, ["the rose"]).message.endswith(
        "(it can write 'the')"
    )
    case, *_ = findings(ENGLISH, {**PROSE, "YORK": 0.3}, ["the rose of york", "the rose"])
    assert "16.7 % of the references' 6 running words are out of vocabulary" in case.message
    assert "such as 'york' (1) ('YORK' is in the vocabulary)" in case.message
    # the references are as they should be
    assert case.fix.startswith("ds2 lm TEXT")


def test_no_references():
    assert findings(ENGLISH, PROSE, []) == findings(ENGLISH, PROSE, [""]) == []


@pytest.mark.long
def test_large_models_are_checked_quickly():
    words = [*SPECIAL_TOKENS, *map("".join, itertools.product("abcdefghijklm", repeat=5))]
    assert len(words) > 370_000
    start = time.process_time()
    assert lint(ENGLISH, words, np.zeros(len(words))) == []
    assert time.process_time() - start < 1.5


def test_no_mismatches():
    assert group_mismatches({}, lambda w: True) == group_mismatches({"a": 1.0}, lambda w: True) == []
