"""Scores of words by their spelling: bonus and unit of a complete word, look-ahead of an unfinished one.

A word is represented by its node in the lexicon's trie, below -1 once it has left the trie; see `trie.trie_child`.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import inner_kernel
from ds2cli.kernels.trie import trie_child

ROOT = 0
"""The node of the empty word, and of the empty text."""


@inner_kernel
def unknown_penalty(trie, lexicon, options):
    """Nats added for a word that is not in the lexicon and whose node is `trie`; -inf in a closed lexicon."""
    if lexicon.closed:
        return -np.inf
    return options.unknown - trie * options.unknown_letter if trie < 0 else options.unknown


@inner_kernel
def finish_word(trie, unk, lexicon, options):
    """The language model's unit for the word that ends at node `trie`, and the nats it adds besides alpha log p_lm."""
    word = np.int64(-1) if trie < 0 else lexicon.word[trie]
    if word < 0:
        return np.int64(unk), options.beta + unknown_penalty(trie, lexicon, options)
    return word, options.beta + (options.unknown if word == unk else 0.0)


@inner_kernel
def lookahead_score(trie, lexicon, options):
    """Nats that an unfinished word is expected to add, so that it does not outrank words already scored."""
    if trie < 0:
        return options.alpha * lexicon.unk_logprob + options.beta + unknown_penalty(trie, lexicon, options)
    return options.alpha * lexicon.lookahead[trie] + options.beta


@inner_kernel
def step_closed_lexicon(lexicon, options, trie, symbol):
    """The trie node after `symbol` in a closed lexicon, and the nats added: -inf where no listed word continues so."""
    if symbol == options.space:
        return np.int64(ROOT), 0.0 if lexicon.word[trie] >= 0 else -np.inf
    trie = trie_child(lexicon.first, lexicon.symbol, trie, symbol)
    return trie, 0.0 if trie >= 0 else -np.inf
