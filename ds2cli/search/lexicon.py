"""How the symbols of a network spell the words of a language model, as a trie; and whether they can at all."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np

from ds2cli.errors import BadUtterance, DataError
from ds2cli.kernels.prefix import CHAR_LM, NO_LM, WORD_LM, Lexicon
from ds2cli.lm.arpa import BOS, EOS, UNK
from ds2cli.lm.query import NgramLm
from ds2cli.text.vocab import SPACE, Vocab

LEAST_SPELLED = 0.5
"""Of the words of a model; with fewer the model and the network were made from differently cleaned texts."""


def unit_of(lm: NgramLm) -> Literal["word", "char"]:
    """What the model counts: characters when it knows <space>, or no unit of more than one character."""
    units = set(lm.words) - {UNK, BOS, EOS}
    return "char" if SPACE in units or (units and all(len(u) == 1 for u in units)) else "word"


def lexicon_for(vocab: Vocab, lm: NgramLm | None) -> Lexicon:
    """The lexicon that joins `vocab` and `lm`; DataError says why they do not go together."""
    if lm is None:
        return trie([], [], [], len(vocab), 0)
    if unit_of(lm) == "char":
        units = np.array([lm.id(SPACE if s == " " else s) for s in vocab.symbols], dtype=np.int64)
        known = int(np.count_nonzero(units[1:] != lm.tables.unk))
        _refuse_strangers(known, len(vocab) - 1, vocab.symbols[1:], set(lm.words))
        return trie([], [], [], len(vocab), lm.tables.unk)._replace(kind=CHAR_LM, unit=units)
    if " " not in vocab.symbols:
        raise DataError("the alphabet has no space, so no word ends: expected a character model (ds2 lm --unit char)")
    words = {i: w for i, w in enumerate(lm.words) if w not in (UNK, BOS, EOS)}
    spelled, ids = [], []
    for i, word in words.items():
        try:
            spelled.append(vocab.encode(word))
        except BadUtterance:
            continue
        ids.append(i)
    _refuse_strangers(len(spelled), len(words), list(words.values()), set("".join(vocab.symbols[1:])))
    unigrams = lm.unigrams()
    stranger = float(unigrams[lm.tables.unk])
    return trie(spelled, ids, unigrams[ids].tolist(), len(vocab), lm.tables.unk)._replace(
        kind=WORD_LM, stranger=stranger
    )


def trie(
    spelled: Sequence[Sequence[int]], ids: Sequence[int], unigrams: Sequence[float], V: int, unknown: int
) -> Lexicon:
    """A trie of words given as symbols; nodes in breadth-first order, so that siblings lie together.

    spelled: the symbols of each word, none empty.  ids: its number in the model.  unigrams: its log-probability.
    V: symbols.  unknown: the number of <unk>.
    """
    lengths = np.array([len(s) for s in spelled], dtype=np.int64)
    flat = np.array([c for s in spelled for c in s], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    at = np.zeros(len(lengths), dtype=np.int64)  # the node each word has come to
    parents, symbols, nodes = [], [np.zeros(1, dtype=np.int64)], 1
    for depth in range(int(lengths.max(initial=0))):
        going = np.flatnonzero(lengths > depth)
        keys, where = np.unique(at[going] * V + flat[starts[going] + depth], return_inverse=True)
        at[going] = nodes + where
        parents.append(keys // V)
        symbols.append(keys % V)
        nodes += len(keys)
    children = np.bincount(np.concatenate([np.empty(0, dtype=np.int64), *parents]), minlength=nodes)
    first = np.concatenate([[1], 1 + np.cumsum(children)])
    word = np.full(nodes, unknown, dtype=np.int64)
    word[at] = np.array(ids, dtype=np.int64)
    symbol = np.concatenate(symbols)
    ahead = np.full(nodes, -np.inf)
    np.maximum.at(ahead, at, np.array(unigrams, dtype=np.float64))
    above = nodes
    for parent in reversed(parents):
        above -= len(parent)
        np.maximum.at(ahead, parent, ahead[above : above + len(parent)])
    return Lexicon(
        NO_LM, first.astype(np.int32), symbol.astype(np.int32), word, np.zeros(V, dtype=np.int64), ahead, 0.0
    )


def _refuse_strangers(known: int, total: int, units: Sequence[str], alphabet: set[str]) -> None:
    if total and known >= LEAST_SPELLED * total:
        return
    if not total:
        raise DataError("the model has no words")
    changes: dict[str, Sequence[Callable[[str], str]]] = {
        "the case differs": (str.lower, str.upper),
        "the Unicode form differs": (partial(unicodedata.normalize, "NFC"), partial(unicodedata.normalize, "NFD")),
    }

    def matching(change: Callable[[str], str]) -> int:
        return sum(change(u) in alphabet or set(change(u)) <= alphabet for u in units)

    why = next((what for what, ways in changes.items() if max(map(matching, ways)) > known), "the alphabets differ")
    example = next(u for u in units if not (u in alphabet or set(u) <= alphabet))
    raise DataError(
        f"only {known} of {total} units of the model and the network match, as {example!r} does not: {why} "
        "(fix: make the model with ds2 lm from texts cleaned like the transcripts)"
    )
