"""Models and networks that do not go together, and those that do."""

import itertools
import subprocess
import time
import unicodedata

import numpy as np
import pytest

from ds2cli.config.units import UnitsConfig
from ds2cli.lm.lint import lint, group_mismatches
from ds2cli.text.vocab import BLANK, Vocab

ENGLISH = Vocab.from_texts(["abcdefghijklmnopqrstuvwxyz '"])
FRENCH = Vocab.from_texts(["abcdefghijklmnopqrstuvwxyz 'éèà"])
MARKS = {"<unk>": 1e-3, "<s>": 1.0, "</s>": 0.1}
PROSE = {"the": 6.0, "and": 3.0, "of": 2.5, "it's": 0.4, "rose": 0.1}
PHRASE = {"été": 1.0, "déjà": 1.0, "la": 2.0, "l'air": 1.0}


def found(vocab, weights, references=None):
    weights = {**MARKS, **weights}
    return lint(vocab, list(weights), np.log(list(weights.values())), references)


def only(vocab, weights, references=None):
    (one,) = found(vocab, weights, references)
    return one


def nfd(text):
    return unicodedata.normalize("NFD", text)


def test_what_goes_together_is_not_mentioned():
    assert found(ENGLISH, PROSE, ["the rose", "it's the rose"]) == []
    assert found(FRENCH, PHRASE, ["la la l'air"]) == []


def test_upper_case():
    one = only(ENGLISH, {w.upper(): p for w, p in PROSE.items()})
    assert (one.kind, one.fatal) == ("case", True)
    assert "the case differs: 100.0 % of its running words cannot be spelled, as 'THE', 'AND', 'OF' ('the' can)" in str(
        one
    )


def test_the_fix_of_an_upper_case_model_is_one_that_works(own, tmp_path):
    from ds2cli.lm import arpa
    from ds2cli.lm.query import NgramLm

    path = tmp_path / "MODEL.arpa"
    path.write_text("".join(arpa.lines(own("THE ROSE\nTHE AIR\n", 2))).replace("<unk>", "<UNK>"))
    lm = NgramLm.load(str(path))
    (one,) = lint(ENGLISH, lm.words, lm.unigrams())
    subprocess.run(["bash", "-c", one.fix], cwd=tmp_path, check=True)
    corrected = NgramLm.load(str(tmp_path / "lower.arpa"))
    assert lint(ENGLISH, corrected.words, corrected.unigrams()) == []
    assert corrected.sentence_log10("the air") == pytest.approx(lm.sentence_log10("THE AIR"))


def test_words_in_both_cases_cannot_be_mended_in_place():
    one = only(ENGLISH, {**PROSE, "The": 4.0, "And": 1.0})
    assert one.fatal
    assert "as 'The', 'And' ('the' can)" in one.message
    assert one.fix.startswith("ds2 lm TEXT")
    assert not only(ENGLISH, {**PROSE, "The": 0.5}).fatal


def test_a_network_in_upper_case():
    one = only(Vocab.from_texts(["THEANDOFROSI '"]), PROSE)
    assert (one.kind, one.fatal) == ("case", True)
    assert "('THE' can)" in one.message


@pytest.mark.parametrize("composed", [True, False])
def test_unicode_forms(composed):
    vocab = FRENCH if composed else Vocab((BLANK, *sorted(set(nfd("".join(FRENCH.symbols[1:]))))))
    one = only(vocab, {nfd(w) if composed else w: p for w, p in PHRASE.items()})
    assert (one.kind, one.fatal) == ("Unicode form", True)
    assert "the Unicode form differs: 40.0 %" in one.message


def test_curly_apostrophes():
    weights = {w.replace("'", "’"): p for w, p in PROSE.items()}
    one = only(ENGLISH, weights)
    assert (one.kind, one.fatal) == ("apostrophe", False)
    assert "the apostrophe differs: 3.3 % of its running words cannot be spelled, as 'it’s' (\"it's\" can)" in one.message
    assert one.fix.startswith('sed "s/’/\'/g" MODEL.arpa')
    assert only(ENGLISH, {**weights, "it's": 0.1}).fix.startswith("ds2 lm")
    curly = Vocab.from_texts(["abcdefghijklmnopqrstuvwxyz ’"])
    assert '"s/\'/’/g"' in only(curly, PROSE).fix


def test_two_faults_of_one_word_are_told_apart():
    case, apostrophe = found(ENGLISH, {"THE": 6.0, "IT’S": 1.0, "ROSE": 3.0})
    assert (case.kind, apostrophe.kind) == ("case", "apostrophe")
    assert "'THE'" in case.message and "'IT’S' (\"it's\" can)" in apostrophe.message


def test_another_alphabet():
    one = only(ENGLISH, {"роза": 1.0, "мир": 2.0})
    assert (one.kind, one.fatal) == ("other", True)
    assert "the alphabets differ: 100.0 % of its running words cannot be spelled, as 'мир', 'роза'" in one.message
    assert "the network has no 'р'" in one.message


def test_a_few_foreign_words_are_no_matter():
    assert found(ENGLISH, {**PROSE, "façade": 0.1}) == []
    one = only(ENGLISH, {**PROSE, "façade": 1.0})
    assert not one.fatal
    assert "the network has no 'ç'" in one.message


def test_words_of_no_probability_are_still_words():
    weights = {"<unk>": -230.0, "<s>": 0.0, "xы": -800.0}
    (one,) = lint(ENGLISH, list(weights), np.array(list(weights.values())))
    assert one.fatal


def test_a_model_without_words():
    assert only(ENGLISH, {}).message == "the model has no words"


def test_words_need_a_space_to_end():
    one = only(Vocab.from_texts(["theandofrosi'"]), PROSE)
    assert one.fatal
    assert one.fix == "ds2 lm TEXT… OUT --unit char"


def letters(text):
    return dict.fromkeys(["<space>" if c == " " else c for c in text], 1.0)


def test_characters():
    assert found(ENGLISH, letters("abcdefghijklmnopqrstuvwxyz '")) == []
    assert only(ENGLISH, letters("ABCDEFGHIJKLMNOPQRSTUVWXYZ '")).kind == "case"
    one = only(ENGLISH, letters("abc"))
    assert one.fatal
    assert "it knows 3 of the network's 28 symbols, not '<space>'" in one.message
    no_space = only(ENGLISH, letters("abcdefghijklmnopqrstuvwxyz'"))
    assert not no_space.fatal
    assert "not '<space>'" in no_space.message


def test_tokens_of_several_characters():
    vocab = Vocab((BLANK, " ", "a", "b", "ab", "ba"))
    model = dict.fromkeys(["<space>", "a", "b", "ab", "ba"], 1.0)
    assert found(vocab, model, ["ab ab", "a"]) == []
    unknown = only(vocab, {t: 1.0 for t in model if t != "ab"}, ["ab ab", "a"])
    assert unknown.message.startswith("50.0 % of the references' 4 running tokens are unknown to it, as 'ab' (2)")
    symbols, _ = found(vocab, {t: 1.0 for t in model if t not in ("ab", "ba", "b")}, ["ab ab", "a"])
    assert "it knows 2 of the network's 5 symbols, not 'b', 'ab', 'ba'" in symbols.message
    (unspelled,) = found(vocab, model, ["ab", "x"])
    assert "1 of 2 references cannot be spelled" in unspelled.message
    words = dict.fromkeys(["ab", "abba", "aab", "xa"], 1.0)
    assert "as 'xa'; the network has no 'x'" in only(vocab, words).message


def test_a_model_of_letters_for_a_network_of_bigrams_is_to_be_made_of_its_symbols():
    text = "the quick brown fox jumps over the lazy dog while seven wizards mix jugs of vodka by night and play chess"
    vocab = Vocab.from_texts([text], UnitsConfig(kind="bigram"))
    one = only(vocab, letters(text))
    assert one.fatal and "it knows 27 of the network's 60 symbols" in one.message
    assert one.fix.startswith("ds2 lm TEXT… OUT --unit token --vocab EXP")
    assert found(vocab, letters(text) | dict.fromkeys(vocab.symbols[2:], 1.0)) == []
    dense = Vocab.from_texts([text.replace(" ", "")], UnitsConfig(kind="bigram"))
    assert only(dense, PROSE).fix == "ds2 lm TEXT… OUT --unit token --vocab EXP"


def test_words_that_are_pieces_of_the_network_too_are_words():
    vocab = Vocab.from_texts(["one two", "two one"] * 3, UnitsConfig(kind="unigram", size=10))
    assert {"one", "two"} <= set(vocab.symbols)
    assert found(vocab, {"one": 1.0, "two": 1.0}, ["one two"]) == []


def test_unknown_words_of_the_references():
    one = only(ENGLISH, PROSE, ["the rose of york", "york and the rose", "of lancaster"])
    assert (one.kind, one.fatal) == ("unknown", False)
    assert "30.0 % of the references' 10 running words are unknown to it, as 'york' (2), 'lancaster' (1)" in one.message
    assert only(ENGLISH, PROSE, ["york lancaster the"]).fatal
    assert found(ENGLISH, PROSE, ["the rose " * 20 + "york"]) == []


def test_references_in_another_case():
    case, spelled = found(ENGLISH, PROSE, ["THE ROSE"])
    assert case.fatal and spelled.fatal
    assert "the case differs: 100.0 % of the references' 2 running words are unknown to it" in case.message
    assert "('the' is known)" in case.message
    assert "cannot be spelled by the network, as 'THE', 'ROSE'" in spelled.message


def test_references_of_a_model_in_another_case():
    """The model is at fault, and is told so once."""
    assert only(ENGLISH, {w.upper(): p for w, p in PROSE.items()}, ["the rose"]).message.endswith("('the' can)")
    case, *_ = found(ENGLISH, {**PROSE, "YORK": 0.3}, ["the rose of york", "the rose"])
    assert "16.7 % of the references' 6 running words are unknown to it, as 'york' (1) ('YORK' is known)" in case.message


def test_no_references():
    assert found(ENGLISH, PROSE, []) == found(ENGLISH, PROSE, [""]) == []


def test_large_models_are_linted_quickly():
    words = [*MARKS, *map("".join, itertools.product("abcdefghijklm", repeat=5))]
    assert len(words) > 370_000
    start = time.process_time()
    assert lint(ENGLISH, words, np.zeros(len(words))) == []
    assert time.process_time() - start < 1.5


def test_strays_of_nothing():
    assert group_mismatches({}, lambda w: True) == group_mismatches({"a": 1.0}, lambda w: True) == []
