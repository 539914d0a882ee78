"""The exact score of a given text under a search's settings, whether or not the search found the text.

Notation: T steps, V symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance
from ds2cli.kernels.hotwords import finish_hotwords, has_hotwords, step_hotwords
from ds2cli.kernels.prefix import CHAR_LM, NO_LM, WORD_LM
from ds2cli.kernels.spelling import ROOT, finish_word
from ds2cli.kernels.text_logprob import text_logprob
from ds2cli.kernels.trie import trie_child
from ds2cli.lm.arpa import BOS, EOS, UNK
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import tokenize
from ds2cli.search.beam import BeamSearch
from ds2cli.search.hypothesis import Hypothesis

LN10 = float(np.log(10.0))


@dataclass(frozen=True)
class ExactScorer:
    """Scores any text by Deep Speech 2, equation 12, summed over all its paths.

    search: its weights and lexicon are used.  lm: its language model.

    The text is scored as `Vocab.encode` spells it. The search's own score of that spelling is equal, or lower where it
    pruned some of the paths; with symbols of several characters the search may have found another spelling. Its score
    is higher only where every hypothesis ended in a forbidden word, see `beam_best`.
    """

    search: BeamSearch
    lm: NgramLm | None = None

    def __call__(self, log_probs: NDArray[np.float32], text: str) -> Hypothesis:
        """The text with its scores; -inf where no path of the emission spells it.

        log_probs: (T, V) float32, contiguous log-probabilities without NaN.  Raises BadUtterance "unspellable".
        """
        vocab, options = self.search.vocab, self.search.options
        if options.space >= 0:
            text = " ".join(text.split())
        labels = np.array(vocab.encode(text), dtype=np.int32)
        am = float(text_logprob(log_probs, labels, options.space))
        lm, bonus = self._score_lm(text)
        score = am + options.alpha * lm + bonus + self._score_hotwords(labels)
        return Hypothesis(text, score, am, lm, tuple(labels.tolist()))

    def can_spell(self, text: str) -> bool:
        """Whether the alphabet has every character of the text."""
        try:
            self.search.vocab.encode(text)
        except BadUtterance:
            return False
        return True

    def in_vocabulary(self, text: str) -> bool:
        """Whether the language model has every unit of the text; without a language model True."""
        return self.lm is None or all(unit != UNK for unit in self._units(text))

    def _score_lm(self, text: str) -> tuple[float, float]:
        """log p_lm, and the bonuses per unit (nats)."""
        lexicon, options = self.search.lexicon, self.search.options
        if lexicon.kind == NO_LM:
            return 0.0, 0.0
        units = [] if self.lm is None else self._units(text)
        log_p = 0.0
        if self.lm is not None:
            log10 = self.lm.word_log10(units).astype(np.float64)
            log_p = LN10 * float(log10.sum() if options.sentence_end else log10[:-1].sum())
        if lexicon.kind == WORD_LM:
            bonus = sum(self._look_up_word(word)[1] for word in text.split())
        else:
            # a sum and not a product, because 0 * -inf is NaN
            bonus = options.beta * len(units) + sum(options.unknown for unit in units if unit == UNK)
            if lexicon.closed and any(self._look_up_word(word)[0] < 0 for word in text.split()):
                bonus = -np.inf
        return log_p, bonus

    def _look_up_word(self, word: str) -> tuple[int, float]:
        """A word's id in the lexicon (negative if it has none), and what it adds besides alpha log p_lm (nats)."""
        lexicon, node = self.search.lexicon, ROOT
        for symbol in self.search.vocab.encode(word):
            node = trie_child(lexicon.first, lexicon.symbol, node, symbol)
        _, bonus = finish_word(node, self.search.task.lm.unk, lexicon, self.search.options)
        return int(lexicon.word[node] if node >= 0 else node), float(bonus)

    def _score_hotwords(self, labels: NDArray[np.int32]) -> float:
        """The bonuses of the hotwords in the text (nats)."""
        hotwords = self.search.task.hotwords
        if not has_hotwords(hotwords):
            return 0.0
        state, total = hotwords.start, 0.0
        for symbol in labels.tolist():
            state, gain = step_hotwords(hotwords, state, symbol)
            total += gain
        return float(total + finish_hotwords(hotwords, state))

    def _units(self, text: str) -> list[str]:
        """The text in units of the language model, <unk> for those out of vocabulary."""
        lm, kind = self.lm, self.search.lexicon.kind
        assert lm is not None and kind in (WORD_LM, CHAR_LM)
        units = text.split() if kind == WORD_LM else tokenize(text, "token", self.search.vocab)
        return [unit if unit in lm and unit not in (UNK, BOS, EOS) else UNK for unit in units]
