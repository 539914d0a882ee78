"""Prefix beam search over emissions, with or without a language model. Letters: T steps, V symbols."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels.beam import beam_begin, beam_best, beam_search, beam_steps
from ds2cli.kernels.prefix import NO_SPACE, BeamOptions, Lexicon, Task
from ds2cli.lm.query import NgramLm
from ds2cli.search.hotwords import build_phrases
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.search.lexicon import build_lexicon
from ds2cli.text.vocab import Vocab


@dataclass(frozen=True)
class BeamSearch:
    """A search made ready for one alphabet and one model; it keeps no state, so threads may share it.

    What the options mean stands with BeamOptions; `with_options` gives the same search with other weights.
    """

    vocab: Vocab
    task: Task

    @classmethod
    def make(
        cls,
        vocab: Vocab,
        lm: NgramLm | None = None,
        *,
        alpha: float = 0.0,
        beta: float = 0.0,
        unknown: float = 0.0,
        unknown_letter: float = 0.0,
        sentence_end: bool = True,
        beam: int = 64,
        beam_gap: float = math.inf,
        prune_mass: float = 1.0,
        prune_top: int | None = None,
        prune_logp: float = -math.inf,
        hotwords: Mapping[str, float] | None = None,
        words: Iterable[str] | None = None,
    ) -> BeamSearch:
        """Join alphabet and model; DataError where that leaves nothing to search. Ask lm/lint.py before.

        hotwords: phrases and the nats that each adds when it is said; see `build_phrases`.
        words: the only ones that may be written, with a model or without; see `build_lexicon`. `unknown` = -inf allows
        those of the model only.
        """
        space = vocab.symbols.index(" ") if " " in vocab.symbols else NO_SPACE
        options = BeamOptions(
            float(alpha), float(beta), float(unknown), float(unknown_letter), bool(sentence_end), space, int(beam), float(beam_gap),
            float(prune_mass), len(vocab) if prune_top is None else min(int(prune_top), len(vocab)), float(prune_logp),
        )  # fmt: skip
        phrases = build_phrases(vocab, hotwords or {})
        return cls(vocab, Task((lm or NgramLm.none()).tables, build_lexicon(vocab, lm, words), phrases, options))

    @property
    def options(self) -> BeamOptions:
        """What the search weighs and leaves out."""
        return self.task.options

    @property
    def lexicon(self) -> Lexicon:
        """How symbols spell the units of the model."""
        return self.task.lexicon

    def with_options(self, **weights: float) -> BeamSearch:
        """The same search with other `options`."""
        options = self.options._replace(**{name: type(getattr(self.options, name))(w) for name, w in weights.items()})
        return BeamSearch(self.vocab, self.task._replace(options=options))

    def __call__(self, log_probs: NDArray[np.float32], best: int = 1) -> list[Hypothesis]:
        """The `best` texts of an emission, best first; fewer when the beam holds fewer.

        Symbols of several characters may spell a text in several ways, which are searched as texts of their own; the
        best one found gives the text its place and its scores.

        log_probs: (T, V) float32, contiguous log-probabilities without NaN.
        """
        return self._hypotheses(*beam_search(log_probs, self.task, self._to_ask_for(best)), best)

    def stream(self) -> Stream:
        """A search of one utterance that comes in pieces."""
        return Stream(self)

    def _to_ask_for(self, best: int) -> int:
        """How many spellings have so many texts among them."""
        return best if best <= 1 or self.vocab.by_character else self.options.beam

    def _hypotheses(self, rows: NDArray[np.int32], scores: NDArray[np.float64], best: int) -> list[Hypothesis]:
        """The texts in their order; of several spellings of a text the best one stands for it."""
        found: dict[str, Hypothesis] = {}
        for row, (score, am, lm) in zip(rows.tolist(), scores.tolist(), strict=True):
            labels = tuple(symbol for symbol in row if symbol != 0)
            text = self.vocab.decode(labels)
            found.setdefault(text, Hypothesis(text, score, am, lm, labels))
            if len(found) >= best:
                break
        return list(found.values())


class Stream:
    """One utterance under way: `step` as it comes, in pieces of any length, `best` whenever a result is wanted."""

    def __init__(self, search: BeamSearch) -> None:
        self.search = search
        self._beam = beam_begin(search.task)

    def step(self, log_probs: NDArray[np.float32]) -> None:
        """Take more steps. log_probs: (T, V) float32, contiguous log-probabilities without NaN."""
        self._beam = beam_steps(log_probs, self._beam, self.search.task)

    def best(self, count: int = 1) -> list[Hypothesis]:
        """The texts if the utterance ended here, best first: what the search gives for all of it at once."""
        asked = self.search._to_ask_for(count)
        return self.search._hypotheses(*beam_best(self._beam, self.search.task, asked), count)
