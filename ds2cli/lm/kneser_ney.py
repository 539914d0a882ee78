"""Interpolated modified Kneser-Ney estimation, as in KenLM's lmplz (Chen & Goodman 1998; Heafield et al. 2013).

p(w | h) = (a(hw) - D(a(hw))) / sum_v a(hv) + gamma(h) p(w | h'), where the adjusted count a is the count for the
highest order and for n-grams that begin a sentence, otherwise the number of distinct words seen to the left. Unigrams
are interpolated with the uniform distribution 1 / V.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.lm.arpa import LOG10_ZERO, Arpa, Section
from ds2cli.lm.counts import BOS_ID, NgramCounts, count_ngrams, expand_words
from ds2cli.lm.text import Corpus

NO_WORDS = "lm: the text has no words: expected lines of text, all lines were empty or dropped"
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""D1, D2 and D3+ where the text is too small to compute them; the defaults of lmplz --discount_fallback."""


@dataclass(frozen=True)
class Discounts:
    """D1, D2 and D3+ of one order. fallback_reason: why they could not be computed, empty when they were."""

    values: tuple[float, float, float]
    fallback_reason: str = ""


def estimate(
    corpus: Corpus,
    order: int,
    prune: list[int],
    in_vocabulary: NDArray[np.bool_] | None = None,
    *,
    fallback: bool = True,
) -> tuple[Arpa, list[Discounts]]:
    """Estimate a model of every n-gram of the corpus that is not pruned, and the discounts of each order.

    prune: drop n-grams of order n seen at most prune[n - 1] times; their mass goes to the back-off. prune[0] is 0.
    in_vocabulary: (V,) bool; n-grams with other words are dropped in the same way.
    DataError when the corpus is empty, or `fallback` is off and an order's discounts cannot be computed.
    """
    if not corpus.tokens:
        raise DataError(NO_WORDS)
    grams = count_ngrams(corpus.ids, order, len(corpus.words))
    adjusted = [_adjusted_counts(g, grams[n + 1]) if n + 1 < order else g.count for n, g in enumerate(grams)]
    discounts = [compute_discounts(n + 1, *_counts_of_counts(grams, adjusted, n)) for n in range(order)]
    if not fallback:
        for d in discounts:
            if d.fallback_reason:
                raise DataError(too_little_text(d.fallback_reason))
    oov = ~in_vocabulary if in_vocabulary is not None else np.zeros(len(corpus.words), dtype=np.bool_)
    kept, probs, gammas = _interpolate(grams, adjusted, discounts, prune, oov)
    return _build_arpa(corpus.words, grams, kept, probs, gammas), discounts


def too_little_text(reason: str) -> str:
    """The message for a text whose discounts cannot be computed."""
    return f"too little text for Kneser-Ney discounts: {reason} (--discount-fallback, or more text)"


def compute_discounts(order: int, n1: int, n2: int, n3: int, n4: int) -> Discounts:
    """D1, D2 and D3+ from the numbers of n-grams with adjusted count 1, 2, 3 and 4 (Chen & Goodman, equation 26).

    Computed in float32, as lmplz does.
    """
    n = (n1, n2, n3, n4)
    for j in (1, 2, 3):
        if n[j - 1] == 0:
            return Discounts(FALLBACK_DISCOUNTS, f"no {order}-gram has adjusted count {j}")
    y = np.float32(n1) / np.float32(n1 + 2.0 * n2)
    values = [np.float32(j) - np.float32(j + 1) * y * np.float32(n[j]) / np.float32(n[j - 1]) for j in (1, 2, 3)]
    for j, value in enumerate(values, start=1):
        if not 0.0 <= value <= j:
            return Discounts(FALLBACK_DISCOUNTS, f"D{j} of {order}-grams would be {value:.3f}")
    return Discounts((float(values[0]), float(values[1]), float(values[2])))


def _adjusted_counts(grams: NgramCounts, longer: NgramCounts) -> NDArray[np.int64]:
    """The number of distinct words to the left of each n-gram; its count where it starts with <s>."""
    left_words = np.bincount(longer.suffix, minlength=len(grams))
    initial = grams.left == BOS_ID
    left_words[initial] = grams.count[initial]
    return left_words


def _counts_of_counts(grams: list[NgramCounts], adjusted: list[NDArray[np.int64]], n: int) -> tuple[int, int, int, int]:
    """The numbers of n-grams with adjusted count 1, 2, 3 and 4, as lmplz counts them.

    lmplz enters the last n-gram of each lower order with its plain count (adjust_counts.cc, after the loop). It matters
    only in small texts; copied so that the discounts equal those of lmplz.
    """
    counts = np.bincount(np.minimum(adjusted[n], 5), minlength=6)
    if n + 1 < len(grams) and len(grams[n]) and grams[n].left[-1] != BOS_ID:
        counts[min(adjusted[n][-1], 5)] -= 1
        counts[min(grams[n].count[-1], 5)] += 1
    n1, n2, n3, n4 = (int(c) for c in counts[1:5])
    return n1, n2, n3, n4


def _interpolate(
    grams: list[NgramCounts],
    adjusted: list[NDArray[np.int64]],
    discounts: list[Discounts],
    prune: list[int],
    oov: NDArray[np.bool_],
) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """For each order: which n-grams are kept, their probabilities, and the back-off weights of their contexts."""
    kept: list[NDArray[np.bool_]] = []
    probs: list[NDArray[np.float64]] = []
    gammas: list[NDArray[np.float64]] = []
    excluded = oov
    for n, g in enumerate(grams):
        excluded = oov[g.left] | excluded[g.suffix] if n else oov
        keep = ~excluded & (g.count > prune[n]) if n else ~excluded
        contexts = len(grams[n - 1]) if n else 1
        count = adjusted[n].astype(np.float64)
        discounted = np.array([0.0, *discounts[n].values])[np.minimum(adjusted[n], 3)]
        total = np.bincount(g.prefix, count, contexts)
        # a context's back-off mass: the discounts of the n-grams that are kept, all of the counts of those that are not
        backoff_mass = np.bincount(g.prefix, np.where(keep, discounted, count), contexts)
        gamma = np.divide(backoff_mass, total, out=np.ones(contexts), where=total > 0)
        if n == 0:
            uniform = 1.0 / (np.count_nonzero(keep) - 1)
            p = (count - discounted) / total[0] + gamma[0] * uniform
            p[BOS_ID] = 1.0
        else:
            p = (count - discounted) / total[g.prefix] + gamma[g.prefix] * probs[-1][g.suffix]
        kept.append(keep)
        probs.append(p)
        gammas.append(gamma)
    return kept, probs, gammas


def _build_arpa(
    words: list[str],
    grams: list[NgramCounts],
    kept: list[NDArray[np.bool_]],
    probs: list[NDArray[np.float64]],
    gammas: list[NDArray[np.float64]],
) -> Arpa:
    renumber = np.cumsum(kept[0], dtype=np.int32) - 1
    sections = []
    for n, ids in enumerate(expand_words(grams)):
        keep = kept[n]
        p = np.minimum(np.log10(probs[n][keep]), 0.0)
        backoff = np.zeros(len(p))
        if n + 1 < len(grams):
            # the floor is for discounts of 0, which leave no mass to back off with
            backoff = np.log10(np.maximum(gammas[n + 1][keep], 10.0**LOG10_ZERO))
        sections.append(Section(renumber[ids[keep]], p.astype(np.float32), backoff.astype(np.float32)))
    return Arpa([w for w, keep in zip(words, kept[0], strict=True) if keep], sections)
