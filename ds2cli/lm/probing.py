"""ARPA models as KenLM's `probing` tables in memory; written to a file, they equal the output of build_binary."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.kernels import ngram_build as kernels
from ds2cli.kernels.ngram import VOCABULARY
from ds2cli.lm.arpa import UNK, Arpa
from ds2cli.lm.kenlm import MULTIPLIER, Layout, ProbingModel, pack_words

NO_UNK_LOG10 = -100.0
"""log10 p of an out-of-vocabulary word when the model has no <unk>; as in KenLM."""
MOST_BUCKETS = 64
"""Buckets per entry of a model that lists almost no suffixes of its n-grams, which no estimator writes."""
SMALL = 1 << 20
"""This many buckets are always allowed: their memory is small."""
UNK_SPELLINGS = (UNK, "<UNK>")


def build_tables(model: Arpa) -> ProbingModel:
    """The tables of a model; DataError for a duplicate n-gram, one without its context, or a missing <s> or </s>."""
    unknown = [i for i, word in enumerate(model.words) if word in UNK_SPELLINGS]
    if len(unknown) > 1:
        raise DataError(f"both {UNK} and <UNK> are among the 1-grams: expected only one of them")
    for n, (count, longer) in enumerate(pairwise(model.counts), start=1):
        if longer and not count:
            raise DataError(f"{longer} {n + 1}-grams, but no {n}-grams: expected the context of each {n + 1}-gram")
    multiplier = MULTIPLIER
    while (tables := _build_tables(model, unknown, multiplier)) is None:
        # the entries for suffixes that are not listed need more buckets than KenLM usually allots
        multiplier *= 2
        if multiplier > MOST_BUCKETS and multiplier * sum(model.counts) > SMALL:
            raise DataError("almost none of the n-grams is also listed without its first word (is the file complete?)")
    return tables


def _build_tables(model: Arpa, unknown: list[int], multiplier: float) -> ProbingModel | None:
    # KenLM has no order 1: a bigram model without bigrams is equivalent
    counts = [*model.counts, 0] if model.order == 1 else model.counts
    layout = Layout.for_counts(counts, multiplier)
    data = np.zeros(layout.end, dtype=np.uint32)
    floats = data.view(np.float32)
    header = np.frombuffer(layout.header(), dtype=np.uint32)
    data[: len(header)] = header
    words = [word for i, word in enumerate(model.words) if i not in unknown]
    text, ends = pack_words(words)
    start = layout.starts[VOCABULARY]
    data[start - 1] = len(words) + 1
    kernels.fill_vocabulary(data, start, np.uint64(layout.buckets[VOCABULARY]), text, ends)
    new_ids = np.zeros(len(model.words), dtype=np.int32)
    new_ids[np.setdiff1d(np.arange(len(model.words)), unknown)] = np.arange(1, len(words) + 1)
    _fill_unigrams(floats[layout.starts[1] : layout.starts[1] + 2 * layout.buckets[1]], model, new_ids, not unknown)
    starts, buckets = np.array(layout.starts, dtype=np.int64), np.array(layout.buckets, dtype=np.uint64)
    used = np.zeros(len(counts) + 1, dtype=np.int64)
    for n, section in enumerate(model.sections[1:], start=2):
        fault, index = kernels.fill_section(
            data, floats, starts, buckets, len(counts), new_ids[section.ids], section.log10_prob,
            section.log10_backoff, used,
        )  # fmt: skip
        if fault == kernels.FULL:
            return None
        if fault:
            ngram = " ".join(model.words[i] for i in section.ids[index])
            problem = (
                "is listed twice" if fault == kernels.DUPLICATE else f"is listed without its context of {n - 1} word(s)"
            )
            raise DataError(f"the {n}-gram {ngram!r} {problem}")
    words_utf8 = b"\0".join(w.encode() for w in (UNK, *words, ""))
    if words_utf8.count(0) > len(words) + 1:
        raise DataError(f"the word {next(w for w in words if chr(0) in w)!r} has a NUL character")
    return ProbingModel.from_arrays(layout, data, np.frombuffer(words_utf8, dtype=np.uint8))


def _fill_unigrams(weights: NDArray[np.float32], model: Arpa, new_ids: NDArray[np.int32], no_unk: bool) -> None:
    """Fill weights (2 V + 2,) float32: probability and back-off weight of each word id.

    As in KenLM, a back-off weight of zero is -0.0, except for an <unk> that is not listed.
    """
    section = model.sections[0]
    pos = 2 * new_ids[section.ids[:, 0]].astype(np.int64)
    weights[pos] = section.log10_prob
    # back-off weights matter only where there is a higher order
    weights[pos + 1] = section.log10_backoff if model.order > 1 else 0.0
    zero = pos[weights[pos + 1] == 0.0]
    weights[zero + 1] = -0.0
    if no_unk:
        weights[:2] = NO_UNK_LOG10, 0.0
