"""Prefix beam search over emissions, with or without a language model. Notation: T steps, V symbols."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels.beam import beam_begin, beam_best, beam_search, beam_steps
from ds2cli.kernels.beam_shared import beam_shared
from ds2cli.kernels.prefix import NO_SPACE, BeamOptions, Lexicon, Task
from ds2cli.lm.query import NgramLm
from ds2cli.search.hotwords import build_hotwords
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.search.lexicon import build_lexicon
from ds2cli.text.vocab import Vocab


@dataclass(frozen=True)
class BeamSearch:
    """A beam search for one alphabet and one language model; it keeps no state, so threads may share it.

    `BeamOptions` documents the options; `with_options` returns the same search with other ones.
    """

    vocab: Vocab
    task: Task

    @classmethod
    def build(
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
        """A search with this alphabet and language model; run the checks of lm/lint.py first.

        hotwords: phrases and the nats that each occurrence adds, see `build_hotwords`.
        words: the only words that may be written, with a language model or without, see `build_lexicon`; `unknown` =
        -inf instead allows only those of the language model.
        Raises DataError where no text could be found.
        """
        space = vocab.symbols.index(" ") if " " in vocab.symbols else NO_SPACE
        options = BeamOptions(
            float(alpha), float(beta), float(unknown), float(unknown_letter), bool(sentence_end), space, int(beam),
            float(beam_gap), float(prune_mass), len(vocab) if prune_top is None else min(int(prune_top), len(vocab)),
            float(prune_logp),
        )  # fmt: skip
        automaton = build_hotwords(vocab, hotwords or {})
        return cls(vocab, Task((lm or NgramLm.none()).tables, build_lexicon(vocab, lm, words), automaton, options))

    @property
    def options(self) -> BeamOptions:
        """Search weights and pruning limits."""
        return self.task.options

    @property
    def lexicon(self) -> Lexicon:
        """How symbols spell the units of the language model."""
        return self.task.lexicon

    def with_options(self, **changes: float) -> BeamSearch:
        """The same search with some of its `options` changed."""
        options = self.options._replace(**{name: type(getattr(self.options, name))(v) for name, v in changes.items()})
        return BeamSearch(self.vocab, self.task._replace(options=options))

    def with_phrases(
        self, lm: NgramLm | None, hotwords: Mapping[str, float] | None = None, words: Iterable[str] | None = None
    ) -> BeamSearch:
        """The same search with other hotwords, or with these words only; None leaves them as they are.

        lm: the language model of this search. Errors as of `build`.
        """
        task = self.task
        if hotwords is not None:
            task = task._replace(hotwords=build_hotwords(self.vocab, hotwords))
        if words is not None:
            task = task._replace(lexicon=build_lexicon(self.vocab, lm, words))
        return BeamSearch(self.vocab, task)

    def __call__(self, log_probs: NDArray[np.float32], best: int = 1) -> list[Hypothesis]:
        """The `best` texts of an emission (the n-best list), best first; fewer where the beam holds fewer.

        Symbols of several characters may spell a text in several ways, which are searched as separate hypotheses; the
        best spelling found gives the text its rank and its scores.

        log_probs: (T, V) float32, contiguous log-probabilities without NaN.
        """
        return self._merge_spellings(*beam_search(log_probs, self.task, self._spellings_needed(best)), best)

    def stream(self) -> BeamStream:
        """A search of one utterance that arrives in chunks."""
        return BeamStream(self)

    def _spellings_needed(self, best: int) -> int:
        """How many spellings to request so that they include `best` distinct texts, if the beam does."""
        return best if best <= 1 or self.vocab.by_character else self.options.beam

    def _merge_spellings(self, rows: NDArray[np.int32], scores: NDArray[np.float64], best: int) -> list[Hypothesis]:
        """Distinct texts in order, each with the labels and scores of its best spelling."""
        hypotheses: dict[str, Hypothesis] = {}
        for row, (score, am, lm) in zip(rows.tolist(), scores.tolist(), strict=True):
            labels = tuple(symbol for symbol in row if symbol != 0)
            text = self.vocab.decode(labels)
            hypotheses.setdefault(text, Hypothesis(text, score, am, lm, labels))
            if len(hypotheses) >= best:
                break
        return list(hypotheses.values())


class BeamStream:
    """The search of one utterance that arrives in chunks of any length; `best` returns a result at any time."""

    def __init__(self, search: BeamSearch) -> None:
        self.search = search
        self._beam = beam_begin(search.task)

    def advance(self, log_probs: NDArray[np.float32]) -> None:
        """Search more steps.  log_probs: (T, V) float32, contiguous log-probabilities without NaN."""
        self._beam = beam_steps(log_probs, self._beam, self.search.task)

    def best(self, count: int = 1) -> list[Hypothesis]:
        """The texts if the utterance ended here, best first, as the search returns them for all steps at once."""
        needed = self.search._spellings_needed(count)
        return self.search._merge_spellings(*beam_best(self._beam, self.search.task, needed), count)

    def shared(self, gap: float = math.inf) -> str:
        """What the best hypothesis shares with all that score at most `gap` nats less: the beginning of its text.

        With an infinite gap, every later result begins with it, except that a last word which the lexicon forbids is
        left out of results; a space at its end means that the last word is complete.
        """
        return self.search.vocab.decode(beam_shared(self._beam, gap).tolist())
