"""Text for language models: tokens of a unit (words, characters or a network's symbols), and tokens as ids."""

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
UNIT_PLURAL: dict[Unit, str] = {"word": "words", "char": "characters", "token": "tokens"}
SPECIAL_TOKENS = frozenset((UNK, BOS, EOS))


def tokenize(line: str, unit: Unit, vocab: Vocab | None = None) -> list[str]:
    """Split a normalized line into words, characters, or the output symbols that `vocab` encodes it with.

    A space is written <space>, as in tokens.txt. BadUtterance when `vocab` cannot encode the line.

    >>> tokenize("so am i", "char")
    ['s', 'o', '<space>', 'a', 'm', '<space>', 'i']
    """
    if unit == "word":
        return line.split()
    if unit == "char":
        return [symbol_to_token(c) for c in line]
    if vocab is None:
        raise ValueError("tokens are the symbols of a network: expected a vocab")
    return [symbol_to_token(vocab.symbols[i]) for i in vocab.encode(line)]


def symbol_to_token(symbol: str) -> str:
    """A character or an output symbol as it is written in a language model.

    >>> symbol_to_token(" ")
    '<space>'
    """
    return symbol.replace(" ", SPACE)


def detect_unit(words: Iterable[str], symbols: Sequence[str] = ()) -> Unit:
    """The unit of a model, from its vocabulary; `symbols`, those of a network, distinguish subword tokens from words.

    Pieces of a network may be complete words. If the network has a space symbol, so does a model of its symbols; a
    model without <space> is then a word model.
    """
    units = set(words) - SPECIAL_TOKENS
    may_be_tokens = any(len(s) > 1 for s in symbols[1:]) and (" " not in symbols or SPACE in units)
    if units and may_be_tokens and units <= {symbol_to_token(s) for s in symbols}:
        return "token"
    if units and all(len(u) == 1 or u == SPACE for u in units):
        return "char"
    return "token" if any(SPACE in u or "▁" in u for u in units) else "word"


def symbol_model_options(vocab: Vocab) -> str:
    """The options of `ds2 lm` that estimate a model of a network's output symbols."""
    return "--unit char" if vocab.by_character else "--unit token --vocab EXP"


@dataclass(frozen=True)
class Corpus:
    """Sentences as ids. ids: (P,) int32, for each sentence <s>, its words, </s>.  words: V, by id."""

    ids: NDArray[np.int32]
    words: list[str]

    @property
    def tokens(self) -> int:
        """Number of running words, without <s> and </s>."""
        return len(self.ids) - 2 * self.sentences

    @property
    def sentences(self) -> int:
        """Number of sentences."""
        return int((self.ids == 1).sum())


def build_corpus(sentences: Iterable[list[str]]) -> Corpus:
    """Assign word ids by first appearance, after <unk> 0, <s> 1 and </s> 2. Takes 4 bytes per running word."""
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
    """Mask (V,) of the `size` most frequent words, ties by first appearance, and of <unk>, <s> and </s>."""
    counts = np.bincount(corpus.ids, minlength=len(corpus.words))
    counts[:3] = 0
    mask = np.zeros(len(corpus.words), dtype=np.bool_)
    mask[np.argsort(-counts, kind="stable")[: min(size, len(mask) - 3)]] = True
    mask[:3] = True
    return mask
