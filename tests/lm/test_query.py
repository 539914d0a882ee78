import random

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.kernels.ngram import LN10, ngram_log10_ref
from ds2cli.lm import arpa, probing
from ds2cli.lm.query import NgramLm, State

MODEL = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-99\t<s>\t-0.25
-1\t</s>
-2\ta\t-0.5
-3\tb\t-0.125

\\2-grams:
-0.75\t<s> a
-0.5\ta b

\\end\\
"""


@pytest.fixture
def load(tmp_path):
    def from_text(text):
        (tmp_path / "x.arpa").write_text(text, "utf-8")
        return NgramLm.load(str(tmp_path / "x.arpa"))

    return from_text


def test_scores_of_a_small_model(load):
    lm = load(MODEL)
    assert (lm.order, lm.words, lm.counts) == (2, ["<unk>", "<s>", "</s>", "a", "b"], [5, 2])
    logp, state = lm.score(lm.begin, lm.id("a"))
    assert logp == pytest.approx(-0.75 * LN10)
    assert lm.score(state, lm.id("b"))[0] == pytest.approx(-0.5 * LN10)
    assert lm.end(lm.score(state, lm.id("b"))[1]) == pytest.approx((-1 - 0.125) * LN10)
    assert lm.sentence_log10("a b") == pytest.approx(-0.75 - 0.5 - 1.125)
    assert lm.sentence_log10("") == pytest.approx(-1.25)


def test_oov_words(load):
    lm = load(MODEL)
    assert "a" in lm
    assert "zebra" not in lm
    assert "<unk>" not in lm
    assert "\udcff" not in lm  # a byte that is not UTF-8
    # without a listed <unk> the id stays in the state, as in KenLM
    assert lm.score(lm.begin, lm.id("zebra")) == (pytest.approx((-100 - 0.25) * LN10), State((0,), (0.0,)))


def test_states_with_the_same_future_are_merged(load):
    lm = load(MODEL)
    after_ab = lm.score(lm.score(lm.begin, lm.id("a"))[1], lm.id("b"))[1]
    assert after_ab == lm.score(State(), lm.id("b"))[1]
    assert lm.score(State(), lm.id("</s>"))[1] == State()


def test_the_empty_model_scores_zero():
    lm = NgramLm.none()
    assert lm.score(lm.begin, lm.id("anything")) == (0.0, State())
    assert lm.end(State()) == 0.0


def test_tables_are_immutable(load):
    with pytest.raises(ValueError, match="read-only"):
        load(MODEL).tables.floats[0] = 1.0


def test_a_model_without_sentence_marks_is_refused(load):
    with pytest.raises(DataError, match=r"x.arpa: no 1-gram </s>"):
        load(MODEL.replace("</s>", "c"))


def test_a_context_that_is_not_listed_is_refused(load):
    text = MODEL.replace("ngram 2=2", "ngram 2=2\nngram 3=1").replace("\\end", "\\3-grams:\n-1\tb a b\n\n\\end")
    with pytest.raises(DataError, match="3-gram 'b a b' is listed without its context of 2 word"):
        load(text)


@pytest.mark.parametrize("words", ["b b b", "a b a"])
def test_ngrams_without_any_of_a_shorter_order_are_refused(load, words):
    head = MODEL.partition("\\2-grams")[0].replace("ngram 2=2", "ngram 2=0\nngram 3=1")
    with pytest.raises(DataError, match=r"x.arpa: 1 3-grams, but no 2-grams: expected the context of each 3-gram"):
        load(f"{head}\\2-grams:\n\n\\3-grams:\n-1\t{words}\n\n\\end\\\n")


@pytest.mark.parametrize(("words", "is_read"), [(40, True), (300, False)])
def test_tables_do_not_grow_without_end_for_suffixes_that_are_not_listed(load, monkeypatch, words, is_read):
    monkeypatch.setattr(probing, "SMALL", 0)
    names = [f"w{i}" for i in range(words)]
    unigrams = "".join(f"-3\t{name}\n" for name in names)
    head = MODEL.replace("ngram 1=4\nngram 2=2", f"ngram 1={4 + words}\nngram 2=1\nngram 3={words}")
    head = head.replace("-0.75\t<s> a\n", "").replace("-0.125\n", f"-0.125\n{unigrams}").partition("\\end")[0]
    text = head + "\\3-grams:\n" + "".join(f"-1\ta b {name}\n" for name in names) + "\n\\end\\\n"
    if is_read:
        assert load(text).counts == [4 + words + 1, 1, words]
    else:
        with pytest.raises(DataError, match="almost none of the n-grams is also listed without its first word"):
            load(text)


def test_a_word_with_a_nul_character_is_refused(load):
    with pytest.raises(DataError, match=r"the word 'a\\x00b' has a NUL character"):
        load(MODEL.replace("\ta\t", "\ta\0b\t").replace("a\n", "a\0b\n").replace("\ta b", "\ta\0b b"))


def test_an_ngram_listed_twice_is_refused(load):
    with pytest.raises(DataError, match="2-gram 'a b' is listed twice"):
        load(MODEL.replace("<s> a", "a b"))


def test_a_suffix_that_is_not_listed(load):
    """SRILM may list `<s> a b` without `a b`."""
    text = MODEL.replace("ngram 2=2", "ngram 2=1\nngram 3=1").replace("-0.5\ta b\n", "")
    lm = load(text.replace("\\end", "\\3-grams:\n-0.1\t<s> a b\n\n\\end"))
    assert lm.sentence_log10("a b") == pytest.approx(-0.75 - 0.1 - 1.125)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_equals_the_definition(estimate_lm, order):
    rng = random.Random(order)
    words = [f"w{i}" for i in range(8)]
    text = "".join(" ".join(rng.choices(words, k=rng.randint(1, 6))) + "\n" for _ in range(80))
    model = estimate_lm(text, order, [0, 0, 1, 1][:order])
    lm = NgramLm.from_arpa(model)
    listed = {
        tuple(ids): (p, b)
        for s in model.sections
        for ids, p, b in zip(s.ids.tolist(), s.log10_prob.tolist(), s.log10_backoff.tolist(), strict=True)
    }
    for _ in range(300):
        sentence = rng.choices([*words, "never"], k=rng.randint(0, 7))
        ids = [lm.id("<s>"), *map(lm.id, sentence), lm.id("</s>")]
        expected = [ngram_log10_ref(listed, ids[max(0, i - order + 1) : i], ids[i]) for i in range(1, len(ids))]
        np.testing.assert_allclose(lm.word_log10(sentence), expected, rtol=0, atol=1e-5)


@pytest.mark.long
@pytest.mark.peer
@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_equals_kenlm_to_the_last_bit(librispeech, estimate_lm, tmp_path, capfd, order):
    kenlm = pytest.importorskip("kenlm")
    train, dev = librispeech
    model = estimate_lm("\n".join(" ".join(s) for s in train[:3000]), order, [0, 0, 1, 1, 1][:order])
    path = tmp_path / "x.arpa"
    path.write_text("".join(arpa.lines(model)), "utf-8")
    ds2_lm, kenlm_lm = NgramLm.load(str(path)), kenlm.Model(str(path))
    rng = random.Random(order)
    words = ds2_lm.words[3:]
    sentences = [
        *dev[:600],
        *([*rng.choices(words, k=rng.randint(0, 9)), "zzz", rng.choice(words)] for _ in range(600)),
    ]
    checked = 0
    for sentence in sentences:
        expected = list(kenlm_lm.full_scores(" ".join(sentence)))
        got = ds2_lm.word_log10(sentence)
        np.testing.assert_array_equal(got, np.array([p for p, _, _ in expected], dtype=np.float32))
        assert [w not in ds2_lm for w in sentence] == [oov for _, _, oov in expected[:-1]]
        checked += len(got)
    assert checked > 15_000


@pytest.mark.peer
def test_states_merge_exactly_where_kenlm_merges(librispeech, estimate_lm, tmp_path, capfd):
    kenlm = pytest.importorskip("kenlm")
    model = estimate_lm("\n".join(" ".join(s) for s in librispeech[0][:1500]), 3, [0, 0, 1])
    path = tmp_path / "x.arpa"
    path.write_text("".join(arpa.lines(model)), "utf-8")
    ds2_lm, kenlm_lm = NgramLm.load(str(path)), kenlm.Model(str(path))
    pairs = {}
    for sentence in librispeech[1][:400]:
        state, ds2_state = kenlm.State(), ds2_lm.begin
        kenlm_lm.BeginSentenceWrite(state)
        for word in sentence:
            after = kenlm.State()
            kenlm_lm.BaseScore(state, word, after)
            state, ds2_state = after, ds2_lm.score(ds2_state, ds2_lm.id(word))[1]
            assert pairs.setdefault(ds2_state, state) == state
    assert len(set(pairs.values())) == len(pairs)
