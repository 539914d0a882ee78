"""What a search thinks of a word by its letters: whether the lexicon has it, and what is added for one that it lacks.

A word is known by the node of the trie that it has come to, below -1 where it has left the trie; see `trie.trie_child`.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import leaf
from ds2cli.kernels.trie import trie_child

ROOT = 0
"""The node of the empty word, and of the empty text."""


@leaf
def unknown_penalty(trie, lexicon, options):
    """Nats added for a word that is not in the lexicon and has come to `trie`."""
    if lexicon.closed:
        return -np.inf
    return options.unknown - trie * options.unknown_letter if trie < 0 else options.unknown


@leaf
def word_at(trie, unk, lexicon, options):
    """What the model knows the word as that has come to `trie`, and what equation 12 adds for it beside alpha log p_lm
    (nats)."""
    word = np.int64(-1) if trie < 0 else lexicon.word[trie]
    if word < 0:
        return np.int64(unk), options.beta + unknown_penalty(trie, lexicon, options)
    return word, options.beta + (options.unknown if word == unk else 0.0)


@leaf
def lookahead_score(trie, lexicon, options):
    """What a word under way is expected to add, so that it does not lead those that have paid for theirs already."""
    if trie < 0:
        return options.alpha * lexicon.unk_logprob + options.beta + unknown_penalty(trie, lexicon, options)
    return options.alpha * lexicon.lookahead[trie] + options.beta


@leaf
def write_in_list(lexicon, options, trie, symbol):
    """In a closed lexicon the trie node after `symbol`, and minus infinity where no word of it goes on so, else 0."""
    if symbol == options.space:
        return np.int64(ROOT), 0.0 if lexicon.word[trie] >= 0 else -np.inf
    trie = trie_child(lexicon.first, lexicon.symbol, trie, symbol)
    return trie, 0.0 if trie >= 0 else -np.inf
