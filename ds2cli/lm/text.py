"""Text of a language model: one cleaning rule with the transcripts, tokens of a unit, tokens as numbers."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ds2cli.lm.arpa import BOS, EOS, UNK

Unit = Literal["word", "char"]
SPACE = "<space>"
"""The token of a space between words in a character model, as in tokens.txt."""


def tokens(clean: str, unit: Unit) -> list[str]:
    """The tokens of a cleaned line: its words, or its characters with `<space>` between words.

    >>> tokens("so am i", "char")
    ['s', 'o', '<space>', 'a', 'm', '<space>', 'i']
    """
    return clean.split() if unit == "word" else [SPACE if c == " " else c for c in clean]


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


def number(sentences: Iterable[list[str]]) -> Corpus:
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


def most_frequent(corpus: Corpus, size: int) -> NDArray[np.bool_]:
    """Mask (V,) of the `size` most frequent words, the earlier one of equals; sentence marks and <unk> always in."""
    counts = np.bincount(corpus.ids, minlength=len(corpus.words))
    counts[:3] = 0
    inside = np.zeros(len(corpus.words), dtype=np.bool_)
    inside[np.argsort(-counts, kind="stable")[: min(size, len(inside) - 3)]] = True
    inside[:3] = True
    return inside
