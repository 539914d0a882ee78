"""Linear interpolation of n-gram models into one (SRILM's -mix-lm). Notation: S models, V words, C n-grams, T tokens.

p(w | h) = sum_i weight_i p_i(w | h) for every n-gram listed in any of the models; all others back off as in any ARPA
file, with back-off weights that make the probabilities after each context sum to 1. Each model's <unk> probability is
divided equally among the words that only other models list and <unk> itself, so that all models are distributions over
the same vocabulary.
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
"""EM stops when no weight changes by this much in an iteration."""

MIN_UNLISTED_MASS = 1e-6
"""Less probability mass left by the listed words of a context is float32 rounding: they are the whole vocabulary."""

_UNK, _BOS = 0, 1


def unk_class_sizes(vocabularies: Sequence[Sequence[str]]) -> list[int]:
    """For each model, the number of words that share its <unk> probability: those only other models list, and <unk>."""
    union = set().union(*vocabularies)
    return [1 + len(union - {UNK} - set(words)) for words in vocabularies]


def score_tokens(models: Sequence[NgramLm], sentences: Iterable[list[str]]) -> Floats:
    """log10 p_i (T, S) of every word and sentence end under each model."""
    log10_sizes = np.log10(unk_class_sizes([lm.words for lm in models]))
    rows = []
    for sentence in sentences:
        scores = np.empty((len(sentence) + 1, len(models)))
        for i, lm in enumerate(models):
            scores[:, i] = lm.word_log10(sentence)
            scores[np.flatnonzero(lm.lookup(sentence) == lm.tables.unk), i] -= log10_sizes[i]
        rows.append(scores)
    return np.concatenate(rows) if rows else np.empty((0, len(models)))


def estimate_weights(log10: Floats) -> Floats:
    """Maximum-likelihood interpolation weights (S,) by EM, from log10 p_i (T, S) of at least one token."""
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
    """The perplexity (S,) of each column of log10 p (T, S)."""
    with np.errstate(over="ignore"):
        return np.asarray(10.0 ** -log10.mean(axis=0))


def mix(models: Sequence[Arpa], weights: Floats) -> Arpa:
    """Interpolate `models` with `weights` (S,), which sum to 1, into one model with the n-grams of all of them."""
    words = list(dict.fromkeys([UNK, BOS, EOS, *(w for m in models for w in m.words)]))
    word_ids = {word: i for i, word in enumerate(words)}
    V = len(words)
    ids = [np.array([word_ids[w] for w in m.words], dtype=np.int64) for m in models]
    unk_sizes = unk_class_sizes([m.words for m in models])
    keys, listed = _merge_ngrams(models, ids, V)
    scores = [_unigram_scores(m, i, V, size) for m, i, size in zip(models, ids, unk_sizes, strict=True)]
    ngrams, suffix, prob = np.arange(V)[:, None], keys[0], _interpolate(scores, weights)
    sections: list[Section] = []
    for n, key in enumerate(keys[1:], start=2):
        context, last = np.divmod(key, V)
        suffix = last if n == 2 else np.searchsorted(keys[n - 2], suffix[context] * V + last)
        per_model = zip(scores, listed[n - 2], unk_sizes, strict=True)
        scores = [
            _extend_order(lower, ngram_ranks, size, context, last, suffix) for lower, ngram_ranks, size in per_model
        ]
        longer_prob = _interpolate(scores, weights)
        backoff = _backoff_weights(context, longer_prob, prob[suffix], len(prob))
        sections.append(_make_section(ngrams, prob, backoff))
        ngrams, prob = np.concatenate([ngrams[context], last[:, None]], axis=1), longer_prob
    sections.append(_make_section(ngrams, prob, np.zeros(len(prob))))
    sections[0].log10_prob[_BOS] = 0.0  # never queried; as written by lmplz
    return Arpa(words, sections)


_ListedNgrams = tuple[Section, Ints] | None
"""The section of one order in a model, and the ranks of its n-grams among those of all models; None without one."""


@dataclass(frozen=True)
class _OrderScores:
    """One model's log10 probabilities and log10 back-off weights (C,) of all n-grams of an order."""

    log10: Floats
    backoff: Floats


def _merge_ngrams(models: Sequence[Arpa], ids: Sequence[Ints], V: int) -> tuple[list[Ints], list[list[_ListedNgrams]]]:
    """The sorted keys of all n-grams of each order, listed or inside a longer one; and where those of each model are.

    The key of an n-gram is the integer `rank of its first n - 1 words * V + last word`, so each order takes one sort.
    """
    ngrams = [(i, m, ids[i][s.ids]) for i, model in enumerate(models) for m, s in enumerate(model.sections, start=1)]
    ranks = [words for _, _, words in ngrams]  # (C, m - n + 1), rank of the n-gram that starts at each word
    keys: list[Ints] = [np.arange(V)]
    listed: list[list[_ListedNgrams]] = []
    for n in range(2, max(model.order for model in models) + 1):
        keys_inside = [r[:, :-1] * V + words[:, n - 1 :] for r, (_, _, words) in zip(ranks, ngrams, strict=True)]
        keys.append(np.unique(np.concatenate([k.ravel() for k in keys_inside])))
        ranks = [np.searchsorted(keys[-1], k) for k in keys_inside]
        ngram_ranks = {i: r[:, 0] for r, (i, m, _) in zip(ranks, ngrams, strict=True) if m == n}
        listed.append(
            [(model.sections[n - 1], ngram_ranks[i]) if i in ngram_ranks else None for i, model in enumerate(models)]
        )
    return keys, listed


def _unigram_scores(model: Arpa, ids: Ints, V: int, unk_size: int) -> _OrderScores:
    section = model.sections[0]
    unk = model.words.index(UNK) if UNK in model.words else None
    log10 = np.full(V, LOG10_ZERO if unk is None else section.log10_prob[unk], dtype=np.float64) - np.log10(unk_size)
    backoff = np.full(V, 0.0 if unk is None else section.log10_backoff[unk], dtype=np.float64)
    known = ids[ids != _UNK]
    log10[known] = section.log10_prob[ids != _UNK]
    backoff[ids] = section.log10_backoff
    log10[_BOS] = -np.inf
    return _OrderScores(log10, backoff)


def _extend_order(
    lower: _OrderScores, ngram_ranks: _ListedNgrams, unk_size: int, context: Ints, last: Ints, suffix: Ints
) -> _OrderScores:
    """The scores of the next higher order, by backing off where a model does not list an n-gram.

    context, suffix: (C,) ranks of the n-grams without their last and without their first word.  last: (C,) last words.
    """
    log10, backoff = lower.backoff[context] + lower.log10[suffix], np.zeros(len(context))
    if ngram_ranks is not None:
        section, ranks = ngram_ranks
        log10[ranks] = section.log10_prob - np.where(last[ranks] == _UNK, np.log10(unk_size), 0.0)
        backoff[ranks] = section.log10_backoff
    return _OrderScores(log10, backoff)


def _interpolate(scores: Sequence[_OrderScores], weights: Floats) -> Floats:
    """Interpolated probabilities (C,)."""
    return np.asarray(sum(w * 10.0**s.log10 for w, s in zip(weights, scores, strict=True)))


def _backoff_weights(context: Ints, prob: Floats, lower_prob: Floats, contexts: int) -> Floats:
    """The log10 back-off weights (contexts,) that make the probabilities after each context sum to 1.

    context, prob: (C,) of the n-grams that extend the contexts.  lower_prob: (C,) their last words' probabilities in
    the shortened context.
    """
    mass = 1.0 - np.bincount(context, prob, contexts)
    lower_mass = 1.0 - np.bincount(context, lower_prob, contexts)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.log10(mass / lower_mass)
    weight[mass <= 0] = LOG10_ZERO
    weight[lower_mass < MIN_UNLISTED_MASS] = 0.0  # every word is listed: nothing backs off
    return np.maximum(weight, LOG10_ZERO)


def _make_section(ids: Ints, prob: Floats, backoff: Floats) -> Section:
    with np.errstate(divide="ignore"):
        log10 = np.clip(np.log10(prob), LOG10_ZERO, 0.0)
    return Section(ids.astype(np.int32), log10.astype(np.float32), backoff.astype(np.float32))
