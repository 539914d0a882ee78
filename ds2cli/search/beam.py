"""Prefix beam search over emissions, with or without a language model. Letters: T steps, V symbols."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels.beam import beam_search
from ds2cli.kernels.ngram import NgramTables
from ds2cli.kernels.prefix import NO_SPACE, BeamOptions, Lexicon
from ds2cli.lm.query import NgramLm
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.search.lexicon import lexicon_for
from ds2cli.text.vocab import Vocab


@dataclass(frozen=True)
class BeamSearch:
    """A search made ready for one alphabet and one model; it keeps no state, so threads may share it.

    What the options mean stands with BeamOptions; `weigh` gives the same search with other weights.
    """

    vocab: Vocab
    tables: NgramTables
    lexicon: Lexicon
    options: BeamOptions

    @classmethod
    def make(
        cls,
        vocab: Vocab,
        lm: NgramLm | None = None,
        *,
        alpha: float = 0.0,
        beta: float = 0.0,
        unknown: float = 0.0,
        end: bool = True,
        width: int = 64,
        gap: float = math.inf,
        mass: float = 1.0,
        top: int | None = None,
        floor: float = -math.inf,
    ) -> BeamSearch:
        """Join alphabet and model; DataError when they do not go together."""
        space = vocab.symbols.index(" ") if " " in vocab.symbols else NO_SPACE
        options = BeamOptions(
            float(alpha), float(beta), float(unknown), bool(end), space, int(width), float(gap), float(mass),
            len(vocab) if top is None else min(int(top), len(vocab)), float(floor),
        )  # fmt: skip
        return cls(vocab, (lm or NgramLm.none()).tables, lexicon_for(vocab, lm), options)

    def weigh(self, alpha: float, beta: float, unknown: float) -> BeamSearch:
        """The same search with other weights."""
        options = self.options._replace(alpha=float(alpha), beta=float(beta), unknown=float(unknown))
        return BeamSearch(self.vocab, self.tables, self.lexicon, options)

    def __call__(self, log_probs: NDArray[np.float32], best: int = 1) -> list[Hypothesis]:
        """The `best` texts of an emission, best first; fewer when the beam holds fewer.

        log_probs: (T, V) float32, contiguous log-probabilities without NaN.
        """
        labels, scores = beam_search(log_probs, self.tables, self.lexicon, self.options, best)
        return [
            Hypothesis(self.vocab.decode(row), score, am, lm)
            for row, (score, am, lm) in zip(labels.tolist(), scores.tolist(), strict=True)
        ]
