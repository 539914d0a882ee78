"""The prefix beam search: every path counted by hand, then the plain reference at finite beams."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ds2cli.kernels.beam import beam_search
from ds2cli.kernels.beam_ref import beam_search_ref, symbols_ref
from ds2cli.kernels.prefix import kth_largest, pick_symbols
from ds2cli.lm.query import NgramLm
from ds2cli.search.beam import BeamSearch
from ds2cli.text.vocab import Vocab

VOCAB = Vocab(("<blank>", " ", "a", "b"))
WORDS = """
\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-1.2\t<unk>\t0
0\t<s>\t-0.4
-0.9\t</s>\t0
-0.6\ta\t-0.3
-0.8\tab\t-0.2
-1.1\tbb\t-0.1

\\2-grams:
-0.3\t<s> a
-0.5\ta ab
-0.2\tab </s>
-0.7\tbb a

\\end\\
"""
LETTERS = """
\\data\\
ngram 1=6
ngram 2=3

\\1-grams:
-1.5\t<unk>\t0
0\t<s>\t-0.2
-0.9\t</s>\t0
-0.5\ta\t-0.3
-0.7\tb\t-0.2
-0.6\t<space>\t-0.1

\\2-grams:
-0.2\t<s> a
-0.4\ta b
-0.3\tb </s>

\\end\\
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    loaded = {"none": None}
    for name, text in (("word", WORDS), ("char", LETTERS)):
        (folder / name).write_text(text.lstrip())
        loaded[name] = NgramLm.load(str(folder / name))
    return loaded


def emission(seed, T, V=4, sharp=1.0):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.full(V, sharp), size=T) + 1e-12).astype(np.float32)


def text_of(path):
    return " ".join(VOCAB.decode(s for s, _ in itertools.groupby(path)).split())


def every_text(lp, lm, alpha, beta, unknown, end):
    """Q, log p_ctc and log p_lm of every text there is, from all V^T paths and the model's own words."""
    am: dict[str, list[float]] = {}
    for path in itertools.product(range(lp.shape[1]), repeat=len(lp)):
        am.setdefault(text_of(path), []).append(sum(float(lp[t, s]) for t, s in enumerate(path)))
    scores = {}
    for text, logs in am.items():
        lm_logp, bonus = 0.0, 0.0
        if lm is not None:
            units = text.split() if "ab" in lm.ids else ["<space>" if c == " " else c for c in text]
            state = lm.begin
            for unit in units:
                logp, state = lm.score(state, lm.id(unit))
                lm_logp += logp
            lm_logp += lm.end(state) if end else 0.0
            bonus = beta * len(units) + unknown * sum(u not in lm.ids for u in units)
        log_p = float(np.logaddexp.reduce(logs))
        scores[text] = (log_p + alpha * lm_logp + bonus, log_p, lm_logp)
    return scores


@pytest.mark.parametrize("T", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_endless_beam_finds_every_text_with_its_exact_score(models, kind, T, end, seed):
    lp = emission(seed, T)
    weights = {"alpha": 0.7, "beta": 1.3, "unknown": -0.5, "end": end}
    exact = every_text(lp, models[kind], **weights)
    found = BeamSearch.make(VOCAB, models[kind], width=5000, **weights)(lp, best=5000)
    assert {h.text for h in found} == set(exact)
    for h in found:
        assert (h.score, h.am, h.lm) == pytest.approx(exact[h.text], abs=1e-6)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert np.logaddexp.reduce([h.am for h in found]) == pytest.approx(0.0, abs=1e-6)


SETTINGS = [
    {"width": 3},
    {"width": 8, "mass": 0.9},
    {"width": 8, "top": 2},
    {"width": 8, "mass": 0.95, "top": 3},
    {"width": 16, "gap": 2.0},
    {"width": 16, "floor": math.log(0.1)},
    {"width": 5, "mass": 0.99, "top": 3, "gap": 4.0, "floor": math.log(0.02)},
]


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_every_pruning_equals_the_reference(models, kind, settings, seed):
    lp = emission(seed, T=25, sharp=0.4)
    search = BeamSearch.make(VOCAB, models[kind], alpha=0.8, beta=0.6, unknown=-1.0, **settings)
    found = search(lp, best=4)
    wanted = beam_search_ref(lp, search.tables, search.lexicon, search.options, 4)
    assert [h.text for h in found] == [VOCAB.decode(prefix) for prefix, *_ in wanted]
    for h, (_, *scores) in zip(found, wanted, strict=True):
        assert (h.score, h.am, h.lm) == pytest.approx(scores, abs=1e-6)


LIMITS = [{"mass": 0.99}, {"top": 40}, {"top": 3}, {"mass": 0.9, "top": 2}, {"floor": -3.0}, {}]


@pytest.mark.parametrize("settings", LIMITS, ids=str)
@pytest.mark.parametrize("V", [1, 2, 29, 500])
def test_pruning_of_symbols_holds_each_limit_on_its_own(settings, V):
    options = BeamSearch.make(VOCAB, **settings).options._replace(top=settings.get("top", V))
    for seed in range(10):
        row = emission(seed, 1, V, sharp=0.1)[0]
        picked = np.empty(V, dtype=np.int64)
        n = pick_symbols(row, options, picked)
        wanted = symbols_ref(row, options)
        assert sorted(picked[:n]) == sorted(wanted)
        if "mass" in settings or options.top < V:
            assert picked[:n].tolist() == wanted


@pytest.mark.parametrize("seed", range(20))
def test_the_kth_largest(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, 17).astype(np.float64)
    values[rng.integers(0, 17, 3)] = -np.inf
    for k in range(1, 18):
        assert kth_largest(values.copy(), 17, k) == np.sort(values)[-k]


def test_no_steps_give_the_empty_text(models):
    for lm in models.values():
        (only,) = BeamSearch.make(VOCAB, lm, alpha=1.0, end=False)(np.empty((0, 4), dtype=np.float32), best=5)
        assert (only.text, only.am, only.score) == ("", 0.0, 0.0)


def test_certain_paths_spell_themselves():
    search = BeamSearch.make(VOCAB, width=4)

    def spell(*path):
        lp = np.full((len(path), 4), -np.inf, dtype=np.float32)
        lp[np.arange(len(path)), path] = 0.0
        return search(lp)[0].text

    assert spell(0, 0, 0) == ""
    assert spell(2) == "a"
    assert spell(2, 2, 2) == "a"
    assert spell(2, 0, 2) == "aa"
    assert spell(1, 2, 1, 0, 1, 3, 1) == "a b"
    assert spell(1) == ""


def test_an_alphabet_of_the_blank_and_of_one_symbol():
    alone = BeamSearch.make(Vocab(("<blank>",)))
    assert alone(np.zeros((3, 1), dtype=np.float32), best=2)[0].text == ""
    one = BeamSearch.make(Vocab(("<blank>", "ж")), width=8)
    best = one(np.log(np.full((3, 2), 0.5, dtype=np.float32)), best=8)
    assert {h.text: round(math.exp(h.am) * 8) for h in best} == {"ж": 6, "": 1, "жж": 1}


def test_equal_scores_come_in_the_same_order_every_time():
    lp = np.log(np.full((6, 4), 0.25, dtype=np.float32))
    search = BeamSearch.make(VOCAB, width=7)
    first = [h.text for h in search(lp, best=7)]
    assert all([h.text for h in search(lp, best=7)] == first for _ in range(5))


def test_a_wide_beam_needs_more_nodes_than_at_first():
    lp = emission(0, T=200, V=4)
    assert len(BeamSearch.make(VOCAB, width=64)(lp, best=3)) == 3


def test_arguments_are_not_written_to(models):
    lp = emission(3, T=30)
    before = lp.copy()
    search = BeamSearch.make(VOCAB, models["word"], alpha=1.0, beta=1.0, width=4)
    labels, scores = beam_search(lp, search.tables, search.lexicon, search.options, 1)
    np.testing.assert_array_equal(lp, before)
    assert labels.shape[0] == len(scores) == 1
