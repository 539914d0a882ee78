"""Text of a language model: one cleaning rule with the transcripts, tokens of a unit, tokens as numbers."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ds2cli.lm.arpa import BOS, EOS, UNK
from ds2cli.text.vocab import SPACE, Vocab

Unit = Literal["word", "char", "token"]
MARKS = frozenset((UNK, BOS, EOS))


def tokenize(clean: str, unit: Unit, vocab: Vocab | None = None) -> list[str]:
    """The tokens of a cleaned line: its words, its characters, or the symbols with which `vocab` spells it.

    A space in a character or a symbol is written <space>, as in tokens.txt. BadUtterance when `vocab` cannot spell it.

    >>> tokenize("so am i", "char")
    ['s', 'o', '<space>', 'a', 'm', '<space>', 'i']
    """
    if unit == "word":
        return clean.split()
    if unit == "char":
        return [symbol_to_token(c) for c in clean]
    if vocab is None:
        raise ValueError("tokens are the symbols of a network: expected a vocab")
    return [symbol_to_token(vocab.symbols[i]) for i in vocab.encode(clean)]


def symbol_to_token(symbol: str) -> str:
    """How a character or a symbol of a network is written in a model.

    >>> token_of(" ")
    '<space>'
    """
    return symbol.replace(" ", SPACE)


def detect_unit(words: Iterable[str], symbols: Sequence[str] = ()) -> Unit:
    """What the words of a model are; `symbols`, those of a network, tell tokens of several characters from words.

    A network may have whole words among its symbols, as pieces. Where its space is a symbol, a model of symbols has it
    too, and one without it is of words.
    """
    units = set(words) - MARKS
    longer = any(len(s) > 1 for s in symbols[1:]) and (" " not in symbols or SPACE in units)
    if units and longer and units <= {symbol_to_token(s) for s in symbols}:
        return "token"
    if units and all(len(u) == 1 or u == SPACE for u in units):
        return "char"
    return "token" if any(SPACE in u or "▁" in u for u in units) else "word"


def symbol_model_options(vocab: Vocab) -> str:
    """The options of `ds2 lm` that make a model of what a network writes, symbol by symbol."""
    return "--unit char" if vocab.by_character else "--unit token --vocab EXP"


@dataclass(frozen=True)
class Corpus:
    """Sentences as numbers. ids: (P,) int32, for each sentence <s>, its words, </s>.  words: V, as they appear."""

    ids: NDArray[np.int32]
    words: list[str]

    @property
    def tokens(self) -> int:
        """How many words, without the sentence marks."""
        return len(self.ids) - 2 * self.sentences

    @property
    def sentences(self) -> int:
        """How many sentences."""
        return int((self.ids == 1).sum())


def build_corpus(sentences: Iterable[list[str]]) -> Corpus:
    """Number the words of sentences by first appearance after <unk> 0, <s> 1 and </s> 2. Takes 4 bytes a word."""
    ids: defaultdict[str, int] = defaultdict()
    ids.default_factory = ids.__len__
    bos, eos = [ids[w] for w in (UNK, BOS, EOS)][1:]
    flat = array("i")
    for sentence in sentences:
        flat.append(bos)
        flat.extend(map(ids.__getitem__, sentence))
        flat.append(eos)
    return Corpus(np.frombuffer(flat, dtype=np.int32) if flat else np.empty(0, dtype=np.int32), list(ids))


def vocabulary_mask(corpus: Corpus, size: int) -> NDArray[np.bool_]:
    """Mask (V,) of the `size` most frequent words, the earlier one of equals; sentence marks and <unk> always in."""
    counts = np.bincount(corpus.ids, minlength=len(corpus.words))
    counts[:3] = 0
    inside = np.zeros(len(corpus.words), dtype=np.bool_)
    inside[np.argsort(-counts, kind="stable")[: min(size, len(inside) - 3)]] = True
    inside[:3] = True
    return inside
