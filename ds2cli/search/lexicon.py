"""How the symbols of a network spell the units of a language model, as a trie; and which words may be written.

A word stands in the trie as `Vocab.encode` spells it. Where symbols have several characters the network may write it in
others; to the search that is an unknown word of the same letters, or none where unknown words may not be written.

Whether a model and a network were made from alike texts is asked by lm/lint.py; here only that a search is possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ds2cli.errors import BadUtterance, DataError
from ds2cli.kernels.prefix import CHAR_LM, NO_LM, WORD_LM, Lexicon
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import MARKS, detect_unit, symbol_model_options, symbol_to_token
from ds2cli.text.vocab import Vocab


def build_lexicon(vocab: Vocab, lm: NgramLm | None, words: Iterable[str] | None = None) -> Lexicon:
    """The lexicon that joins `vocab` and `lm`; DataError where it leaves nothing to search.

    words: the only ones that may be written; None where any may. Those that `vocab` cannot spell never are; those that
    the model does not know are unknown words to it.
    """
    unit = detect_unit(lm.words, vocab.symbols) if lm else "word"
    if words is not None:
        words = dict.fromkeys(word for some in words for word in some.split())
        if " " not in vocab.symbols:
            raise DataError("the alphabet has no space, so no word ends, and no list says which words may be written")
    if lm is None and words is None:
        return trie([], [], [], len(vocab))
    if unit == "word" and " " not in vocab.symbols:
        says = "the alphabet has no space, so no word ends: expected a model of its symbols"
        raise DataError(f"{says} (ds2 lm {symbol_model_options(vocab)})")
    known = lm or NgramLm.none()
    if unit != "word":
        units = known.lookup([symbol_to_token(s) for s in vocab.symbols]).astype(np.int64)
        if (units[1:] == known.tables.unk).all():
            raise DataError(f"the model knows none of the network's {len(vocab) - 1} symbols")
        lexicon = trie([], [], [], len(vocab)) if words is None else _of_words(vocab, known, words)
        return lexicon._replace(kind=CHAR_LM, unit=units, closed=words is not None)
    lexicon = _of_words(vocab, known, (w for w in known.words if w not in MARKS) if words is None else words)
    return lexicon._replace(kind=WORD_LM, closed=words is not None)


def _of_words(vocab: Vocab, lm: NgramLm, words: Iterable[str]) -> Lexicon:
    """The trie of those words that can be spelled; DataError when none can."""
    words, spelled, unspelled = list(words), {}, ""
    for word in words:
        try:
            spelled[word] = vocab.encode(word)
        except BadUtterance as e:
            unspelled = unspelled or e.detail
    if not spelled:
        raise DataError(f"of {len(words)} words none can be spelled, as {unspelled}" if words else "there are no words")
    ids = lm.lookup(list(spelled)).tolist()
    unigrams = lm.unigrams()
    lexicon = trie(list(spelled.values()), ids, unigrams[ids].tolist(), len(vocab))
    return lexicon._replace(unk_logprob=float(unigrams[lm.tables.unk]))


def trie(spelled: Sequence[Sequence[int]], ids: Sequence[int], unigrams: Sequence[float], V: int) -> Lexicon:
    """A trie of words given as symbols; nodes in breadth-first order, so that siblings lie together.

    spelled: the symbols of each word, none empty, no two alike.  ids: its number in the model.  unigrams: its
    log-probability.  V: symbols.
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
    word = np.full(nodes, -1, dtype=np.int64)
    word[at] = np.array(ids, dtype=np.int64)
    symbol = np.concatenate(symbols)
    lookahead = np.full(nodes, -np.inf)
    np.maximum.at(lookahead, at, np.array(unigrams, dtype=np.float64))
    above = nodes
    for parent in reversed(parents):
        above -= len(parent)
        np.maximum.at(lookahead, parent, lookahead[above : above + len(parent)])
    unit = np.zeros(V, dtype=np.int64)
    return Lexicon(NO_LM, first.astype(np.int32), symbol.astype(np.int32), word, unit, lookahead, 0.0, False)
