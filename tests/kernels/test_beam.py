"""The prefix beam search against brute force over all paths, and against the reference with finite beams."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ds2cli.kernels.beam import beam_search
from ds2cli.kernels.beam_ref import beam_search_ref
from ds2cli.search.beam import BeamSearch
from ds2cli.text.vocab import Vocab

VOCAB = Vocab(("<blank>", " ", "a", "b"))
KNOWN = ("a", "ab", "bb")
WEIGHTS = {"alpha": 0.7, "beta": 1.3, "unknown": -0.5}
HOT = {"b": 1.5, "a b": 2.0, "ab": -1.0, "aa b": 2.5}


def emission(seed, T, V=4, sharp=1.0):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.full(V, sharp), size=T) + 1e-12).astype(np.float32)


def text_of(path):
    return " ".join(VOCAB.decode(s for s, _ in itertools.groupby(path)).split())


def letters_off_trie(word, known):
    return len(word) - max(i for i in range(len(word) + 1) if any(k.startswith(word[:i]) for k in known))


def expected_scores(
    text, lm, kind, alpha=0.0, beta=0.0, unknown=0.0, unknown_letter=0.0, sentence_end=True, hotwords=None, words=None
):
    """log p_lm of a text and what is added to its log p_ctc, straight from the definition."""
    log_p = added = 0.0
    if lm is not None:
        units = text.split() if kind == "word" else ["<space>" if c == " " else c for c in text]
        state = lm.begin
        for unit in units:
            logp, state = lm.score(state, lm.id(unit))
            log_p += logp
        log_p += lm.end(state) if sentence_end else 0.0
        added += beta * len(units) + sum(unknown for u in units if u not in lm.ids)
    elif words is not None:
        added += beta * len(text.split())
    if kind == "word":
        for word in text.split():
            letters = 0 if word in KNOWN else letters_off_trie(word, KNOWN)
            added += unknown_letter * letters if letters else 0.0
    if words is not None and not set(text.split()) <= set(words):
        added = -math.inf
    for phrase, weight in (hotwords or {}).items():
        added += weight * sum(f" {text} ".startswith(f" {phrase} ", i) for i in range(len(text) + 2))
    return log_p, alpha * log_p + added


def score_all_texts(lp, lm, kind, **settings):
    """Q, log p_ctc and log p_lm of every possible text, by brute force over all V^T paths."""
    am: dict[str, list[float]] = {}
    for path in itertools.product(range(lp.shape[1]), repeat=len(lp)):
        log_p = sum(float(lp[t, s]) for t, s in enumerate(path))
        if log_p > -math.inf:
            am.setdefault(text_of(path), []).append(log_p)
    scores = {}
    for text, logs in am.items():
        lm_logp, added = expected_scores(text, lm, kind, **settings)
        log_p = float(np.logaddexp.reduce(logs))
        if added > -math.inf:
            scores[text] = (log_p + added, log_p, lm_logp)
    return scores


VARIANTS = {
    "plain": {},
    "no end": {"sentence_end": False},
    "letters": {"unknown_letter": -0.9},
    "letter bonus": {"unknown_letter": 0.4},
    "closed": {"unknown": -math.inf},
    "hotwords": {"hotwords": HOT},
    "penalized": {"hotwords": {"a": -2.0, "ab": -1.0}},
    "listed": {"words": ["b", "ab", "aa"]},
    "all": {"words": ["b", "ab", "aa"], "hotwords": HOT, "sentence_end": False},
}


@pytest.mark.parametrize("T", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_unpruned_search_finds_every_text_with_its_exact_score(models, kind, T, variant):
    lp = emission(T, T)
    lp[T // 2, 1 + T % 3] = -np.inf
    settings = {**WEIGHTS, **VARIANTS[variant]}
    if kind == "none":
        del settings["unknown"]
    exact = score_all_texts(lp, models[kind], kind, **settings)
    hypotheses = BeamSearch.build(VOCAB, models[kind], beam=5000, **settings)(lp, best=5000)
    assert len(hypotheses) == len(exact) and {h.text for h in hypotheses} == set(exact)
    for h in hypotheses:
        assert (h.score, h.am, h.lm) == pytest.approx(exact[h.text], abs=1e-6)
    assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
def test_probabilities_of_all_texts_sum_to_one(models, kind):
    hypotheses = BeamSearch.build(VOCAB, models[kind], beam=5000)(emission(5, 6), best=5000)
    assert np.logaddexp.reduce([h.am for h in hypotheses]) == pytest.approx(0.0, abs=1e-6)


SETTINGS = [
    {"beam": 1},
    {"beam": 3},
    {"beam": 8, "prune_mass": 0.9},
    {"beam": 8, "prune_top": 2},
    {"beam": 8, "prune_top": 1},
    {"beam": 8, "prune_mass": 1.0, "prune_top": 3},
    {"beam": 8, "prune_mass": 0.95, "prune_top": 3},
    {"beam": 16, "beam_gap": 2.0},
    {"beam": 16, "beam_gap": 0.0},
    {"beam": 16, "prune_logp": math.log(0.1)},
    {"beam": 5, "prune_mass": 0.99, "prune_top": 3, "beam_gap": 4.0, "prune_logp": math.log(0.02)},
    {"beam": 8, "beam_gap": 5.0, "unknown_letter": -0.8},
    {"beam": 8, "beam_gap": 5.0, "unknown_letter": 0.8},
    {"beam": 8, "beam_gap": 5.0, "unknown": 2.0},
    {"beam": 4, "beam_gap": 5.0, "unknown": 4.0, "alpha": 0.1},
    {"beam": 8, "beam_gap": 5.0, "alpha": -0.3},
    {"beam": 8, "beam_gap": 5.0, "beta": -1.5},
    {"beam": 12, "beam_gap": 6.0, "unknown": -math.inf},
    {"beam": 12, "beam_gap": 6.0, "words": ["ab", "b", "aab"]},
    {"beam": 12, "beam_gap": 6.0, "words": ["ab", "b", "aab"], "hotwords": {"ab": 2.0}},
    {"beam": 8, "beam_gap": 5.0, "hotwords": HOT},
    {"beam": 4, "hotwords": HOT},
    {"beam": 8, "beam_gap": 3.0, "hotwords": {"b": -2.0, "a b": -3.0}, "unknown_letter": -0.3},
]


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_pruned_search_equals_the_reference(models, kind, settings, seed):
    lp = emission(seed, T=25, sharp=0.4)
    if seed == 3:
        lp[[3, 7, 7, 12], [0, 1, 2, 3]] = -np.inf
        lp -= np.logaddexp.reduce(lp, axis=1, keepdims=True)
    options = {"alpha": 0.8, "beta": 0.6, **({} if kind == "none" else {"unknown": -1.0}), **settings}
    search = BeamSearch.build(VOCAB, models[kind], **options)
    assert_equals_reference(search, lp, 4)


def assert_equals_reference(search, lp, best):
    hypotheses = search(lp, best=best)
    expected = beam_search_ref(lp, search.task, best)
    assert [h.text for h in hypotheses] == [search.vocab.decode(prefix) for prefix, *_ in expected]
    for h, (_, *scores) in zip(hypotheses, expected, strict=True):
        assert (h.score, h.am, h.lm) == pytest.approx(scores, abs=1e-6)


HAN = Vocab(("<blank>", *(chr(0x4E00 + i) for i in range(11))))


@pytest.mark.long
@pytest.mark.parametrize("width", [1, 2, 8])
@pytest.mark.parametrize(
    "settings", [{"alpha": 0.0, "beta": 0.7}, {"hotwords": {"一": 0.7, "丁": 2.1, "七": 2.1}}], ids=str
)
def test_score_at_its_upper_bound_survives_rounding(models, width, settings):
    """A symbol with the maximum gain: its score sums the terms of the bound in another order."""
    lm = models["char"] if "alpha" in settings else None
    search = BeamSearch.build(VOCAB if lm else HAN, lm, beam=width, **settings)
    for seed in range(20):
        assert_equals_reference(search, emission(seed, T=10, V=len(search.vocab), sharp=3.0), width)


@pytest.mark.parametrize(
    "settings", [{"prune_top": 20}, {"prune_mass": 0.9, "prune_top": 40}, {"prune_logp": -6.0}], ids=str
)
@pytest.mark.parametrize("hotwords", [None, {"你好": 2.0, "好": -1.0, "界界": 1.0}], ids=["", "hot"])
def test_large_alphabet_equals_the_reference(settings, hotwords):
    rng = np.random.default_rng(1)
    symbols = ["你", "好", "世", "界", *(chr(0x4E00 + i) for i in range(6100))]
    vocab = Vocab(("<blank>", *dict.fromkeys(symbols)))
    logits = rng.normal(size=(7, len(vocab))).astype(np.float32)
    logits[:, 1:5] += rng.uniform(5, 9, size=(7, 4))
    lp = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    assert_equals_reference(BeamSearch.build(vocab, beam=6, hotwords=hotwords, **settings), lp, 6)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("seed", range(10))
def test_forbidden_words_are_dropped_where_every_hypothesis_ends_in_one(models, kind, seed):
    """The emission favors letters that begin the word aab and then ends too early."""
    lp = np.log(np.random.default_rng(seed).dirichlet([0.05, 0.2, 9.0, 0.4], size=8)).astype(np.float32)
    search = BeamSearch.build(VOCAB, models[kind], beam=3, words=["aab", "b"], alpha=0.1)
    assert_equals_reference(search, lp, 3)
    for h in search(lp, best=3):
        assert set(h.text.split()) <= {"aab", "b"} and math.isfinite(h.score)


def test_arguments_are_not_modified(models):
    lp = emission(3, T=30)
    before = lp.copy()
    search = BeamSearch.build(VOCAB, models["word"], alpha=1.0, beta=1.0, beam=4, hotwords=HOT)
    copies = [np.array(a) for part in search.task for a in part]
    labels, scores = beam_search(lp, search.task, 1)
    np.testing.assert_array_equal(lp, before)
    for a, b in zip((a for part in search.task for a in part), copies, strict=True):
        np.testing.assert_array_equal(a, b)
    assert labels.shape[0] == len(scores) == 1
