"""Linear interpolation of n-gram models into one (SRILM's -mix-lm). Letters: S models, V words, C n-grams, T tokens.

p(w | h) = sum_i weight_i p_i(w | h) for every n-gram that one of them lists; all others back off as in any ARPA file,
with weights that make the probabilities after each context sum to 1. A word that one model lacks and another has gets
an equal share of the first one's <unk>, so that all of them are distributions over the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.lm.arpa import BOS, EOS, LOG10_ZERO, UNK, Arpa, Section
from ds2cli.lm.query import NgramLm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONVERGED = 1e-7
"""The weights are found when an iteration of EM moves none of them by more."""

MIN_UNLISTED_MASS = 1e-6
"""Where the listed words of a context leave less to the others, there are no others: it is the rounding of float32."""

_UNK, _BOS = 0, 1


def unk_class_sizes(vocabularies: Sequence[Sequence[str]]) -> list[int]:
    """Among how many words each model's <unk> is shared: those that only others know, and the unknown word itself."""
    union = set().union(*vocabularies)
    return [1 + len(union - {UNK} - set(words)) for words in vocabularies]


def score_tokens(models: Sequence[NgramLm], sentences: Iterable[list[str]]) -> Floats:
    """(T, S) log10 p_i of every word and sentence end under each model."""
    unk_sizes = np.log10(unk_class_sizes([lm.words for lm in models]))
    rows = []
    for sentence in sentences:
        scores = np.empty((len(sentence) + 1, len(models)))
        for i, lm in enumerate(models):
            scores[:, i] = lm.word_log10(sentence)
            scores[np.flatnonzero(lm.lookup(sentence) == lm.tables.unk), i] -= unk_sizes[i]
        rows.append(scores)
    return np.concatenate(rows) if rows else np.empty((0, len(models)))


def estimate_weights(log10: Floats) -> Floats:
    """(S,) weights of the mixture under which tokens with (T, S) log10 p_i are likeliest, by EM; T is at least 1."""
    p = 10.0 ** (log10 - log10.max(axis=1, keepdims=True))
    weights = np.full(p.shape[1], 1.0 / p.shape[1])
    for _ in range(10_000):
        before = weights
        posterior = p * weights
        weights = (posterior / posterior.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(weights - before).max() < CONVERGED:
            break
    return weights


def perplexities(log10: Floats) -> Floats:
    """(S,) perplexity of each column of (T, S) log10 p."""
    with np.errstate(over="ignore"):
        return np.asarray(10.0 ** -log10.mean(axis=0))


def mix(models: Sequence[Arpa], weights: Floats) -> Arpa:
    """The mixture of `models` with `weights` (S,), which sum to 1, as one model with the n-grams of all of them."""
    words = list(dict.fromkeys([UNK, BOS, EOS, *(w for m in models for w in m.words)]))
    number = {word: i for i, word in enumerate(words)}
    V = len(words)
    ids = [np.array([number[w] for w in m.words], dtype=np.int64) for m in models]
    unk_sizes = unk_class_sizes([m.words for m in models])
    keys, listed = _merge_ngrams(models, ids, V)
    levels = [_unigram_scores(m, i, V, a) for m, i, a in zip(models, ids, unk_sizes, strict=True)]
    spelled, suffix, prob = np.arange(V)[:, None], keys[0], _interpolate(levels, weights)
    sections: list[Section] = []
    for n, key in enumerate(keys[1:], start=2):
        context, last = np.divmod(key, V)
        suffix = last if n == 2 else np.searchsorted(keys[n - 2], suffix[context] * V + last)
        each = zip(levels, listed[n - 2], unk_sizes, strict=True)
        levels = [_extend_order(below, own, a, context, last, suffix) for below, own, a in each]
        longer = _interpolate(levels, weights)
        sections.append(_make_section(spelled, prob, _backoff_weights(context, longer, prob[suffix], len(prob))))
        spelled, prob = np.concatenate([spelled[context], last[:, None]], axis=1), longer
    sections.append(_make_section(spelled, prob, np.zeros(len(prob))))
    sections[0].log10_prob[_BOS] = 0.0  # nobody asks for it; lmplz writes it so
    return Arpa(words, sections)


_ListedNgrams = tuple[Section, Ints] | None
"""The n-grams of one order that a model lists, and which of all of that order they are."""


@dataclass(frozen=True)
class _OrderScores:
    """What one model says of all C n-grams of an order. log10, backoff: (C,) log10 p and backoff weight."""

    log10: Floats
    backoff: Floats


def _merge_ngrams(models: Sequence[Arpa], ids: Sequence[Ints], V: int) -> tuple[list[Ints], list[list[_ListedNgrams]]]:
    """Every n-gram of the models and every run of words inside one; for each order, and where those of each model are.

    An n-gram is the whole number `rank of its first n - 1 words * V + last word`, so that an order is one sort.
    """
    grams = [(i, m, ids[i][s.ids]) for i, model in enumerate(models) for m, s in enumerate(model.sections, start=1)]
    runs = [words for _, _, words in grams]  # (C, m - n + 1), the rank of the run of n words from each word on
    keys: list[Ints] = [np.arange(V)]
    listed: list[list[_ListedNgrams]] = []
    for n in range(2, max(model.order for model in models) + 1):
        spelled = [run[:, :-1] * V + words[:, n - 1 :] for run, (_, _, words) in zip(runs, grams, strict=True)]
        keys.append(np.unique(np.concatenate([s.ravel() for s in spelled])))
        runs = [np.searchsorted(keys[-1], s) for s in spelled]
        at = {i: run[:, 0] for run, (i, m, _) in zip(runs, grams, strict=True) if m == n}
        listed.append([(model.sections[n - 1], at[i]) if i in at else None for i, model in enumerate(models)])
    return keys, listed


def _unigram_scores(model: Arpa, ids: Ints, V: int, unk_sizes: int) -> _OrderScores:
    section = model.sections[0]
    unk = model.words.index(UNK) if UNK in model.words else None
    log10 = np.full(V, LOG10_ZERO if unk is None else section.log10_prob[unk], dtype=np.float64) - np.log10(unk_sizes)
    backoff = np.full(V, 0.0 if unk is None else section.log10_backoff[unk], dtype=np.float64)
    known = ids[ids != _UNK]
    log10[known] = section.log10_prob[ids != _UNK]
    backoff[ids] = section.log10_backoff
    log10[_BOS] = -np.inf
    return _OrderScores(log10, backoff)


def _extend_order(below: _OrderScores, own: _ListedNgrams, unk_sizes: int, context: Ints, last: Ints, suffix: Ints) -> _OrderScores:
    """An order up. context, suffix: (C,) ranks of the n-grams without their last and first word.  last: that word."""
    log10, backoff = below.backoff[context] + below.log10[suffix], np.zeros(len(context))
    if own is not None:
        section, at = own
        log10[at] = section.log10_prob - np.where(last[at] == _UNK, np.log10(unk_sizes), 0.0)
        backoff[at] = section.log10_backoff
    return _OrderScores(log10, backoff)


def _interpolate(levels: Sequence[_OrderScores], weights: Floats) -> Floats:
    """(C,) probabilities."""
    return np.asarray(sum(w * 10.0**level.log10 for w, level in zip(weights, levels, strict=True)))


def _backoff_weights(context: Ints, prob: Floats, shorter: Floats, contexts: int) -> Floats:
    """(contexts,) log10 weights. context, prob, shorter: of the n-grams an order up, their p after one word less."""
    free = 1.0 - np.bincount(context, prob, contexts)
    left = 1.0 - np.bincount(context, shorter, contexts)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.log10(free / left)
    weight[free <= 0] = LOG10_ZERO
    weight[left < MIN_UNLISTED_MASS] = 0.0  # every word is listed: nothing backs off
    return np.maximum(weight, LOG10_ZERO)


def _make_section(ids: Ints, prob: Floats, backoff: Floats) -> Section:
    with np.errstate(divide="ignore"):
        log10 = np.clip(np.log10(prob), LOG10_ZERO, 0.0)
    return Section(ids.astype(np.int32), log10.astype(np.float32), backoff.astype(np.float32))
