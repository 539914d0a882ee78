"""What a search thinks of a text that is given: its score to the last term, whether the search found it or not.

Letters: T steps, V symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance
from ds2cli.kernels.phrases import close, follow, has_phrases
from ds2cli.kernels.prefix import CHAR_LM, NO_LM, WORD_LM
from ds2cli.kernels.spelling import ROOT, word_at
from ds2cli.kernels.text_logprob import text_logprob
from ds2cli.kernels.trie import trie_child
from ds2cli.lm.arpa import BOS, EOS, UNK
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import tokenize
from ds2cli.search.beam import BeamSearch
from ds2cli.search.hypothesis import Hypothesis

LN10 = float(np.log(10.0))


@dataclass(frozen=True)
class TextScore:
    """Deep Speech 2, equation 12, of any text; the search that it belongs to gives the weights, `lm` is its model.

    The text is spelled as `Vocab.encode` spells it. The search's own score of that spelling is this one, or lower where
    it pruned some of its paths; of symbols of several characters it may have found another spelling. It is higher only
    where all that the beam held ended in words that may not be written, see `beam_best`.
    """

    search: BeamSearch
    lm: NgramLm | None = None

    def __call__(self, log_probs: NDArray[np.float32], text: str) -> Hypothesis:
        """The text with its scores; minus infinity when no path of the emission spells it.

        log_probs: (T, V) float32, contiguous log-probabilities without NaN.  BadUtterance "unspellable".
        """
        vocab, options = self.search.vocab, self.search.options
        if options.space >= 0:
            text = " ".join(text.split())
        labels = np.array(vocab.encode(text), dtype=np.int32)
        am = float(text_logprob(log_probs, labels, options.space))
        lm, bonus = self._of_model(text)
        score = am + options.alpha * lm + bonus + self._of_phrases(labels)
        return Hypothesis(text, score, am, lm, tuple(labels.tolist()))

    def spells(self, text: str) -> bool:
        """Whether the alphabet has all characters of the text."""
        try:
            self.search.vocab.encode(text)
        except BadUtterance:
            return False
        return True

    def knows(self, text: str) -> bool:
        """Whether the model knows every word, or in a model of symbols every symbol; without a model all do."""
        return self.lm is None or all(unit != UNK for unit in self._units(text))

    def _of_model(self, text: str) -> tuple[float, float]:
        """log p_lm (nats), and the terms of the score that count units."""
        lexicon, options = self.search.lexicon, self.search.options
        if lexicon.kind == NO_LM:
            return 0.0, 0.0
        units = [] if self.lm is None else self._units(text)
        log_p = 0.0
        if self.lm is not None:
            log10 = self.lm.word_log10(units).astype(np.float64)
            log_p = LN10 * float(log10.sum() if options.sentence_end else log10[:-1].sum())
        if lexicon.kind == WORD_LM:
            bonus = sum(self._of_word(word)[1] for word in text.split())
        else:
            # no product: minus infinity may be the price of none
            bonus = options.beta * len(units) + sum(options.unknown for unit in units if unit == UNK)
            if lexicon.closed and any(self._of_word(word)[0] < 0 for word in text.split()):
                bonus = -np.inf
        return log_p, bonus

    def _of_word(self, word: str) -> tuple[int, float]:
        """The unit that a word is, -1 or below if it does not, and what it adds beside alpha log p_lm (nats)."""
        lexicon, node = self.search.lexicon, ROOT
        for symbol in self.search.vocab.encode(word):
            node = trie_child(lexicon.first, lexicon.symbol, node, symbol)
        _, bonus = word_at(node, self.search.task.lm.unk, lexicon, self.search.options)
        return int(lexicon.word[node] if node >= 0 else node), float(bonus)

    def _of_phrases(self, labels: NDArray[np.int32]) -> float:
        """What the phrases that are wished for add (nats)."""
        phrases = self.search.task.phrases
        if not has_phrases(phrases):
            return 0.0
        state, total = phrases.begin, 0.0
        for symbol in labels.tolist():
            state, gain = follow(phrases, state, symbol)
            total += gain
        return float(total + close(phrases, state))

    def _units(self, text: str) -> list[str]:
        """What the model counts in a text; <unk> for all that it does not know."""
        lm, kind = self.lm, self.search.lexicon.kind
        assert lm is not None and kind in (WORD_LM, CHAR_LM)
        units = text.split() if kind == WORD_LM else tokenize(text, "token", self.search.vocab)
        return [unit if unit in lm and unit not in (UNK, BOS, EOS) else UNK for unit in units]
