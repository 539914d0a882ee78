"""ARPA models laid out as KenLM's `probing` tables in memory; written to a file they are what build_binary writes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.kernels import ngram_build as kernels
from ds2cli.kernels.ngram import VOCABULARY
from ds2cli.lm.arpa import UNK, Arpa
from ds2cli.lm.kenlm import MULTIPLIER, Layout, ProbingModel, pack_words

NO_UNK_LOG10 = -100.0
"""log10 p of a word outside the vocabulary when the model has no <unk>; KenLM's choice."""
_UNKNOWN = (UNK, "<UNK>")


def build_tables(model: Arpa) -> ProbingModel:
    """The tables of a model. DataError when an n-gram is listed twice or without its context, or a mark is missing."""
    names = [i for i, word in enumerate(model.words) if word in _UNKNOWN]
    if len(names) > 1:
        raise DataError(f"both {UNK} and <UNK> among the 1-grams, expected one name for unknown words")
    multiplier = MULTIPLIER
    while (laid := _build_tables(model, names, multiplier)) is None:
        # so many suffixes are not listed that their entries need more room than n-grams usually leave
        multiplier *= 2
    return laid


def _build_tables(model: Arpa, unknown: list[int], multiplier: float) -> ProbingModel | None:
    # KenLM knows no order 1: a bigram model without bigrams is the same
    counts = [*model.counts, 0] if model.order == 1 else model.counts
    layout = Layout.of(counts, multiplier)
    data = np.zeros(layout.end, dtype=np.uint32)
    floats = data.view(np.float32)
    header = np.frombuffer(layout.header(), dtype=np.uint32)
    data[: len(header)] = header
    words = [word for i, word in enumerate(model.words) if i not in unknown]
    text, ends = pack_words(words)
    start = layout.starts[VOCABULARY]
    data[start - 1] = len(words) + 1
    kernels.fill_vocabulary(data, start, np.uint64(layout.buckets[VOCABULARY]), text, ends)
    number = np.zeros(len(model.words), dtype=np.int32)
    number[np.setdiff1d(np.arange(len(model.words)), unknown)] = np.arange(1, len(words) + 1)
    _fill_unigrams(floats[layout.starts[1] : layout.starts[1] + 2 * layout.buckets[1]], model, number, not unknown)
    starts, buckets = np.array(layout.starts, dtype=np.int64), np.array(layout.buckets, dtype=np.uint64)
    used = np.zeros(len(counts) + 1, dtype=np.int64)
    for n, section in enumerate(model.sections[1:], start=2):
        fault, where = kernels.fill_section(
            data, floats, starts, buckets, len(counts), number[section.ids], section.log10_prob,
            section.log10_backoff, used,
        )  # fmt: skip
        if fault == kernels.FULL:
            return None
        if fault:
            gram = " ".join(model.words[i] for i in section.ids[where])
            what = "is listed twice" if fault == kernels.TWICE else f"is listed, its context of {n - 1} word(s) is not"
            raise DataError(f"the {n}-gram {gram!r} {what}")
    spelled = b"\0".join(w.encode() for w in (UNK, *words, ""))
    return ProbingModel.over(layout, data, np.frombuffer(spelled, dtype=np.uint8))


def _fill_unigrams(weights: NDArray[np.float32], model: Arpa, number: NDArray[np.int32], no_unk: bool) -> None:
    """weights: (2 V + 2,) float32, a probability and a backoff for each number. Backoffs of zero are -0.0, but for a
    <unk> that is not listed, as in KenLM."""
    section = model.sections[0]
    at = 2 * number[section.ids[:, 0]].astype(np.int64)
    weights[at] = section.log10_prob
    # an order above it is what makes a backoff matter
    weights[at + 1] = section.log10_backoff if model.order > 1 else 0.0
    zero = at[weights[at + 1] == 0.0]
    weights[zero + 1] = -0.0
    if no_unk:
        weights[:2] = NO_UNK_LOG10, 0.0
