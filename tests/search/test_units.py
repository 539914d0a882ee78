"""Searches with symbols of several characters: brute force over all spellings, then the reference."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ds2cli.config.units import UnitsConfig
from ds2cli.errors import BadUtterance
from ds2cli.kernels.beam_ref import beam_search_ref
from ds2cli.kernels.prefix import CHAR_LM, WORD_LM
from ds2cli.lm.query import NgramLm
from ds2cli.search.align import align, align_labels
from ds2cli.search.attribute import OOV, attribute
from ds2cli.search.beam import BeamSearch
from ds2cli.search.greedy import greedy
from ds2cli.search.text_score import ExactScorer
from ds2cli.text.vocab import BLANK, Vocab

PAIRS = Vocab((BLANK, " ", "a", "ab", "b"))
TEXTS = ["the other mother", "then the moth", "don't bother them", "été the ether 你好 the"]
LEARNED = {
    kind: Vocab.from_texts(TEXTS, UnitsConfig(kind=kind, size=None if kind == "bigram" else 24))
    for kind in ("bigram", "bpe", "unigram")
}
KNOWN = ("a", "ab", "aba", "bb")
WORDS = """\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-1.2\t<unk>\t0
0\t<s>\t-0.4
-0.9\t</s>\t0
-0.6\ta\t-0.3
-0.8\tab\t-0.2
-1.1\taba\t-0.1
-1.3\tbb\t-0.1

\\2-grams:
-0.3\t<s> a
-0.5\ta ab
-0.2\tab </s>
-0.7\tbb a

\\end\\
"""
SYMBOLS = """\\data\\
ngram 1=6
ngram 2=3

\\1-grams:
-1.5\t<unk>\t0
0\t<s>\t-0.2
-0.9\t</s>\t0
-0.5\ta\t-0.3
-0.7\tab\t-0.2
-0.6\t<space>\t-0.1

\\2-grams:
-0.2\t<s> ab
-0.4\tab a
-0.3\ta </s>

\\end\\
"""
HOT = {"ab a": 2.0, "b": 1.5, "bab": -1.0}
WEIGHTS = {"alpha": 0.7, "beta": 1.3, "unknown": -0.5}
VARIANTS = {
    "plain": {},
    "letters": {"unknown_letter": -0.9, "sentence_end": False},
    "closed": {"unknown": -math.inf},
    "hotwords": {"hotwords": HOT},
    "listed": {"words": ["b", "ab", "aba", "bab"], "hotwords": HOT},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    loaded = {"none": None}
    for name, text in (("word", WORDS), ("token", SYMBOLS)):
        (folder / name).write_text(text, "utf-8")
        loaded[name] = NgramLm.load(str(folder / name))
    return loaded


def emission(seed, T, V=5, sharp=1.0):
    return np.log(np.random.default_rng(seed).dirichlet(np.full(V, sharp), size=T) + 1e-12).astype(np.float32)


def emission_of_path(*path, V):
    lp = np.full((len(path), V), -30.0, dtype=np.float32)
    lp[np.arange(len(path)), path] = 0.0
    return lp


def words_of(labels):
    """Labels split into words."""
    return [tuple(run) for is_space, run in itertools.groupby(labels, lambda s: s == 1) if not is_space]


def expected_scores(
    words, lm, kind, alpha=0.0, beta=0.0, unknown=0.0, unknown_letter=0.0, sentence_end=True, hotwords=None, listed=None
):
    """log p_lm of words given as labels, and what is added to their log p_ctc, straight from the definition."""
    spellings = {tuple(PAIRS.encode(w)): w for w in (KNOWN if lm is not None else ()) or listed or ()}
    labels = [symbol for i, word in enumerate(words) for symbol in ((1, *word) if i else word)]
    log_p = added = 0.0
    if kind == "word":
        units = [spellings.get(word, "<unk>") for word in words]
        trie = {tuple(PAIRS.encode(w)) for w in (listed or KNOWN)}
        for word in words:
            if word not in trie:
                prefix = max(i for i in range(len(word) + 1) if any(k[:i] == word[:i] for k in trie))
                added += unknown_letter * (len(word) - prefix)
    else:
        units = ["<space>" if s == 1 else PAIRS.symbols[s] for s in labels]
    if lm is not None:
        state = lm.begin
        for unit in units:
            logp, state = lm.score(state, lm.id(unit))
            log_p += logp
        log_p += lm.end(state) if sentence_end else 0.0
        added += beta * len(units) + sum(unknown for u in units if u not in lm.ids or u == "<unk>")
    elif listed is not None:
        added += beta * len(words)
    if listed is not None and not set(words) <= {tuple(PAIRS.encode(w)) for w in listed}:
        added = -math.inf
    padded = [1, *labels, 1]
    for phrase, weight in (hotwords or {}).items():
        symbols = [1, *PAIRS.encode(phrase), 1]
        added += weight * sum(padded[i : i + len(symbols)] == symbols for i in range(len(padded)))
    return log_p, alpha * log_p + added


def score_all_spellings(lp, lm, kind, words=None, **settings):
    """Q, log p_ctc and log p_lm of every possible spelling, by brute force over all V^T paths."""
    am = {}
    for path in itertools.product(range(lp.shape[1]), repeat=len(lp)):
        spoken = [s for s, _ in itertools.groupby(path) if s]
        am.setdefault(tuple(words_of(spoken)), []).append(sum(float(lp[t, s]) for t, s in enumerate(path)))
    scores = {}
    for spelled, logs in am.items():
        lm_logp, added = expected_scores(spelled, lm, kind, listed=words, **settings)
        log_p = float(np.logaddexp.reduce(logs))
        if added > -math.inf:
            scores[spelled] = (log_p + added, log_p, lm_logp)
    return scores


@pytest.mark.parametrize("T", [1, 3, 5])
@pytest.mark.parametrize("kind", ["none", "word", "token"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_unpruned_search_finds_each_text_in_its_best_spelling(models, kind, T, variant):
    lp = emission(T, T)
    settings = {**WEIGHTS, **VARIANTS[variant]}
    if kind == "none":
        del settings["unknown"]
    scorer = "word" if kind == "none" and "words" in settings else kind
    best = {}
    for spelled, scores in score_all_spellings(lp, models[kind], scorer, **settings).items():
        text = " ".join(PAIRS.decode(word) for word in spelled)
        best[text] = max(best.get(text, ((-math.inf,), ())), (scores, spelled))
    hypotheses = BeamSearch.build(PAIRS, models[kind], beam=5000, **settings)(lp, best=5000)
    assert [h.text for h in hypotheses] == sorted({h.text for h in hypotheses}, key=lambda t: -best[t][0][0])
    assert {h.text for h in hypotheses} == set(best)
    for h in hypotheses:
        scores, spelled = best[h.text]
        assert (h.score, h.am, h.lm) == pytest.approx(scores, abs=1e-6)
        assert tuple(words_of(h.labels)) == spelled and PAIRS.decode(h.labels) == h.text


def test_probabilities_of_all_spellings_sum_to_one():
    scores = score_all_spellings(emission(2, 5), None, "none")
    assert np.logaddexp.reduce([am for _, am, _ in scores.values()]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kind", ["none", "word", "token"])
@pytest.mark.parametrize("units", LEARNED)
@pytest.mark.parametrize("seed", range(2))
def test_pruned_search_equals_the_reference(unigrams, kind, units, seed):
    vocab = LEARNED[units]
    words = sorted({w for text in TEXTS for w in text.split()})
    tokens = ["<space>" if s == " " else s for s in vocab.symbols[1:]]
    lm = None if kind == "none" else unigrams(words if kind == "word" else tokens)
    settings = {"alpha": 0.5, "beta": 0.8, "beam": 8, "prune_mass": 0.99, "hotwords": {"the moth": 2.0}}
    settings |= {} if kind == "none" else {"unknown": -1.0, "unknown_letter": -0.3 if kind == "word" else 0.0}
    search = BeamSearch.build(vocab, lm, **settings)
    assert search.lexicon.kind == {"none": 0, "word": WORD_LM, "token": CHAR_LM}[kind]
    lp = noisy_emission(vocab, TEXTS[seed], seed)
    texts = {}
    for labels, *scores in beam_search_ref(lp, search.task, 8):
        texts.setdefault(vocab.decode(labels), (labels, scores))
    hypotheses = search(lp, best=8)
    assert [h.text for h in hypotheses] == list(texts)
    for h in hypotheses:
        labels, scores = texts[h.text]
        assert h.labels == labels and (h.score, h.am, h.lm) == pytest.approx(scores, abs=1e-4)


def noisy_emission(vocab, text, seed, sharp=0.05):
    """A random emission that favors the text."""
    rng = np.random.default_rng(seed)
    path = [s for symbol in vocab.encode(text) for s in (symbol, 0)]
    p = rng.dirichlet(np.full(len(vocab), sharp), size=len(path))
    p[np.arange(len(path)), path] += 1.0
    return np.log(p / p.sum(axis=1, keepdims=True) + 1e-9).astype(np.float32)


@pytest.mark.parametrize("units", LEARNED)
def test_clear_emission_is_decoded_aligned_and_scored_consistently(unigrams, units):
    vocab = LEARNED[units]
    words = sorted({w for text in TEXTS for w in text.split()})
    for lm in (None, unigrams(words)):
        weights = {"alpha": 0.5, "beta": 1.0} if lm else {}
        search = BeamSearch.build(vocab, lm, beam=16, hotwords={"moth": 1.0}, **weights)
        score = ExactScorer(search, lm)
        for text in TEXTS:
            path = [s for symbol in vocab.encode(text) for s in (symbol, symbol, 0)]
            lp = emission_of_path(*path, V=len(vocab))
            greedy_best, best = greedy(lp, vocab), search(lp, best=3)[0]
            assert greedy_best.text == best.text == text
            assert greedy_best.labels == best.labels == tuple(vocab.encode(text))
            exact = score(lp, text)
            assert (exact.score, exact.am, exact.lm) == pytest.approx((best.score, best.am, best.lm), abs=1e-5)
            assert score.can_spell(text) and score.in_vocabulary(text)
            times = align_labels(lp, best.labels, vocab, 0.5)
            # the words of `align` are shorter: Chinese characters are single words
            assert "".join(w.word for w in align(lp, text, vocab, 0.5).words) == "".join(text.split())
            assert [w.word for w in times.words] == text.split()
            starts = list(itertools.accumulate((1.5 * (len(vocab.encode(w)) + 1) for w in text.split()), initial=0.0))
            assert [w.start for w in times.words] == starts[:-1]
            assert all(w.end == next_start - 2.0 for w, next_start in zip(times.words, starts[1:], strict=True))
            # in chunks
            stream = search.stream()
            for chunk in np.array_split(lp, 5):
                stream.advance(np.ascontiguousarray(chunk))
            assert stream.best(3) == search(lp, best=3)


def test_known_word_in_another_spelling_is_an_unknown_word(models):
    search = BeamSearch.build(PAIRS, models["word"], beam=50, unknown=-3.0)
    others = emission_of_path(2, 4, V=5)  # a, b
    (single, *_), (mixed, *_) = search(emission_of_path(3, 0, V=5)), search(others)
    assert single.text == mixed.text == "ab" and single.labels == (3,) and mixed.labels == (2, 4)
    assert mixed.score == pytest.approx(-3.0, abs=1e-6) and single.score == pytest.approx(0.0, abs=1e-6)
    assert mixed.lm == pytest.approx(math.log(10) * models["word"].sentence_log10("qq"), abs=1e-5)
    closed = BeamSearch.build(PAIRS, models["word"], beam=50, unknown=-math.inf)(others, best=50)
    assert len(closed) > 3 and all(h.labels == tuple(PAIRS.encode(h.text)) for h in closed)


def test_spelling_that_was_found_is_the_one_aligned():
    vocab = Vocab((BLANK, " ", "a", "ab", "b", "ba"))
    # "abab" is encoded as ab ab, which needs a blank and so three steps; a ba b takes three steps without a blank
    lp = emission_of_path(2, 5, 4, 1, 2, V=6)
    hypothesis = greedy(lp, vocab)
    assert hypothesis.text == "abab a" and hypothesis.labels == (2, 5, 4, 1, 2)
    words = align_labels(lp, hypothesis.labels, vocab, 1.0).words
    assert [(w.word, w.start, w.end) for w in words] == [("abab", 0.0, 3.0), ("a", 4.0, 5.0)]
    assert [w.conf for w in words] == [1.0, 1.0]
    with pytest.raises(BadUtterance, match="label-too-long"):
        align(emission_of_path(2, 4, V=6), "abab", vocab, 1.0)


def test_spaces_of_the_best_path_are_collapsed():
    hypothesis = greedy(emission_of_path(1, 0, 1, 3, 1, 0, 1, 2, 1, V=5), PAIRS)
    assert (hypothesis.text, hypothesis.labels) == ("ab a", (3, 1, 2))
    assert greedy(emission_of_path(1, 0, 1, V=5), PAIRS).labels == ()


def test_chinese_with_roman_letters_and_a_token_model(unigrams):
    vocab = Vocab.from_texts(["我用ipad看书", "看ipod"], UnitsConfig(kind="bigram"))
    lm = unigrams(["我", "用", "ip", "ad", "od", "看", "书"])
    search = BeamSearch.build(vocab, lm, alpha=0.3, beam=20, hotwords={"ipad": 3.0})
    text = "我看ipad"
    lp = emission_of_path(*(s for symbol in vocab.encode(text) for s in (symbol, 0)), V=len(vocab))
    (hypothesis, *_) = search(lp)
    assert hypothesis.text == text and hypothesis.lm == pytest.approx(ExactScorer(search, lm)(lp, text).lm)
    assert hypothesis.score == pytest.approx(hypothesis.am + 0.3 * hypothesis.lm + 3.0, abs=1e-5)
    assert [w.word for w in align(lp, text, vocab, 1.0).words] == ["我", "看", "ipad"]


def test_units_out_of_a_token_model_are_out_of_vocabulary(models):
    score = ExactScorer(BeamSearch.build(PAIRS, models["token"], beam=50, **WEIGHTS), models["token"])
    assert [score.in_vocabulary(text) for text in ("ab a", "aba", "b", "bab")] == [True, True, False, False]


def test_cause_of_an_error(models):
    lm = models["word"]
    score = ExactScorer(BeamSearch.build(PAIRS, lm, beam=50, alpha=0.1), lm)
    (error,) = attribute(emission(3, 12), "ab bab", "ab a", score).errors
    assert (error.ref, error.hyp, error.cause) == ("bab", "a", OOV)
