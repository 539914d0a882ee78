"""The lexicon: how the network's symbols spell the language model's units, as a trie, and which words are allowed.

A word is in the trie as `Vocab.encode` spells it. With symbols of several characters the network may spell it in other
ways; the search treats those as unknown words, or forbids them where unknown words are forbidden.

This only checks that a search is possible; lm/lint.py checks that language model and network match.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ds2cli.errors import BadUtterance, DataError
from ds2cli.kernels.prefix import CHAR_LM, NO_LM, WORD_LM, Lexicon
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import SPECIAL_TOKENS, detect_unit, symbol_model_options, symbol_to_token
from ds2cli.text.vocab import Vocab


def build_lexicon(vocab: Vocab, lm: NgramLm | None, words: Iterable[str] | None = None) -> Lexicon:
    """The lexicon of an alphabet and a language model; DataError where no text could be found.

    words: the only words that may be written; None allows any. Words that `vocab` cannot spell are left out; words that
    are not in the language model are scored as unknown words. Without a space in the alphabet each text is one word,
    unless its script is written without spaces: then its words cannot be separated.
    """
    has_words = " " in vocab.symbols or vocab.single_words
    unit = detect_unit(lm.words, vocab.symbols) if lm else "word"
    if words is not None:
        words = dict.fromkeys(word for line in words for word in line.split())
        if not has_words:
            raise DataError("the network's alphabet has no space to separate words: a word list cannot be used")
    if lm is None and words is None:
        return build_trie([], [], [], len(vocab))
    if unit == "word" and not has_words:
        wrong = "the network's alphabet has no space: expected a language model of its symbols, found one of words"
        raise DataError(f"{wrong} (ds2 lm TEXT… OUT {symbol_model_options(vocab)})")
    model = lm or NgramLm.none()
    if unit != "word":
        units = model.lookup([symbol_to_token(s) for s in vocab.symbols]).astype(np.int64)
        if (units[1:] == model.tables.unk).all():
            raise DataError(f"the language model has none of the network's {len(vocab) - 1} symbols")
        lexicon = build_trie([], [], [], len(vocab)) if words is None else _build_word_lexicon(vocab, model, words)
        return lexicon._replace(kind=CHAR_LM, unit=units, closed=words is not None)
    if words is None:
        words = (word for word in model.words if word not in SPECIAL_TOKENS)
        return _build_word_lexicon(vocab, model, words)._replace(kind=WORD_LM, closed=False)
    return _build_word_lexicon(vocab, model, words)._replace(kind=WORD_LM, closed=True)


def _build_word_lexicon(vocab: Vocab, lm: NgramLm, words: Iterable[str]) -> Lexicon:
    """The trie of the words that `vocab` can spell; DataError when there are none."""
    words, spellings, first_error = list(words), {}, ""
    for word in words:
        try:
            spellings[word] = vocab.encode(word)
        except BadUtterance as e:
            first_error = first_error or e.detail
    if not spellings:
        raise DataError(f"none of {len(words)} words can be spelled: {first_error}" if words else "there are no words")
    ids = lm.lookup(list(spellings)).tolist()
    unigrams = lm.unigrams()
    lexicon = build_trie(list(spellings.values()), ids, unigrams[ids].tolist(), len(vocab))
    return lexicon._replace(unk_logprob=float(unigrams[lm.tables.unk]))


def build_trie(spellings: Sequence[Sequence[int]], ids: Sequence[int], unigrams: Sequence[float], V: int) -> Lexicon:
    """A trie of words; nodes in breadth-first order, so that siblings are adjacent.

    spellings: the symbols of each word, not empty, all different.  ids: word ids of the language model.  unigrams:
    log-probabilities of the words (nats).  V: number of symbols.
    """
    lengths = np.array([len(s) for s in spellings], dtype=np.int64)
    flat = np.array([c for s in spellings for c in s], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    node = np.zeros(len(lengths), dtype=np.int64)  # the node of each word's prefix so far
    parents, symbols, nodes = [], [np.zeros(1, dtype=np.int64)], 1
    for depth in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > depth)
        edges, index = np.unique(node[longer] * V + flat[starts[longer] + depth], return_inverse=True)
        node[longer] = nodes + index
        parents.append(edges // V)
        symbols.append(edges % V)
        nodes += len(edges)
    children = np.bincount(np.concatenate([np.empty(0, dtype=np.int64), *parents]), minlength=nodes)
    first = np.concatenate([[1], 1 + np.cumsum(children)])
    word = np.full(nodes, -1, dtype=np.int64)
    word[node] = np.array(ids, dtype=np.int64)
    symbol = np.concatenate(symbols)
    lookahead = np.full(nodes, -np.inf)
    np.maximum.at(lookahead, node, np.array(unigrams, dtype=np.float64))
    level = nodes
    for parent in reversed(parents):
        level -= len(parent)
        np.maximum.at(lookahead, parent, lookahead[level : level + len(parent)])
    unit = np.zeros(V, dtype=np.int64)
    return Lexicon(NO_LM, first.astype(np.int32), symbol.astype(np.int32), word, unit, lookahead, 0.0, False)
