"""Decide where the utterances of a live stream end, from the network's output as it arrives.

The rules are those of Kaldi and sherpa-onnx (online2/online-endpoint.h), with the difference that an utterance that
gets too long is divided between two words, not where it happens to be. Notation: T steps, V symbols with blank 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.base import build
from ds2cli.config.endpoint import EndpointConfig
from ds2cli.search.pauses import SILENT, SilenceReader, find_cut
from ds2cli.text.vocab import Vocab


@dataclass(frozen=True)
class EndpointRules:
    """When an utterance ends (s); 0 switches a rule off. An utterance begins where the one before it ended.

    silence_s: after so much silence, if the best path of the utterance has a letter.
    no_speech_s: after so much silence, if it has none.
    length_s: when it is that long, it is divided (`find_cut`).
    """

    silence_s: float = EndpointConfig.endpoint_silence
    no_speech_s: float = EndpointConfig.endpoint_no_speech
    length_s: float = EndpointConfig.endpoint_length

    @classmethod
    def from_config(cls, config: EndpointConfig) -> EndpointRules:
        """The rules that the settings describe."""
        return cls(config.endpoint_silence, config.endpoint_no_speech, config.endpoint_length)

    @classmethod
    def changed(cls, config: EndpointConfig, changes: Mapping[str, Any], where: str) -> EndpointRules:
        """Those of the settings, some of them changed. UsageError, which begins with `where`, for a wrong one."""
        settings = {f.name: getattr(config, f.name) for f in fields(EndpointConfig)}
        return cls.from_config(build(EndpointConfig, (where, {**settings, **changes})))


class Endpoint(NamedTuple):
    """The end of an utterance; steps are counted from the beginning of the stream.

    step: the number of steps up to the end.  reason: the rule.
    first, last: the first step with a sound, and the one after the last; None if there is none.
    """

    step: int
    reason: Literal["silence", "no-speech", "length"]
    first: int | None
    last: int | None


class Endpointer:
    """Finds the ends of utterances in a stream that arrives in chunks; they do not depend on the chunks.

    "silence" and "no-speech" end an utterance at the step at which the rule applies. "length" ends it earlier: steps
    that have been passed on then belong to the next utterance.

    start: the step at which the utterance that has not ended began.  first, last: its sounds so far, as in `Endpoint`.
    has_speech: whether its best path has a letter.
    """

    def __init__(self, vocab: Vocab, step_s: float, rules: EndpointRules = EndpointRules()) -> None:
        """step_s: duration of a step (s)."""

        def steps(seconds: float) -> int:
            return max(round(seconds / step_s), 1) if seconds else 0

        self._silence, self._no_speech = steps(rules.silence_s), steps(rules.no_speech_s)
        self._length = steps(rules.length_s)
        self._read, self._silent_symbols = SilenceReader(vocab), {0}
        if " " in vocab.symbols:
            self._silent_symbols.add(vocab.symbols.index(" "))
        self._step = 0
        self._begin(0)

    def _begin(self, start: int) -> None:
        self.start = start
        self.first: int | None = None
        self.last: int | None = None
        self.has_speech = False
        # of the steps of the utterance, for the rule of its length: how silent, is a word's end, is a letter
        self._silences: list[float] = []
        self._word_ends: list[bool] = []
        self._letters: list[bool] = []

    def advance(self, log_probs: NDArray[np.float32]) -> list[Endpoint]:
        """The ends that the next steps show, in order.  log_probs: (T, V) float32, log-probabilities without NaN."""
        silences, word_ends = self._read(log_probs)
        letters = [symbol not in self._silent_symbols for symbol in log_probs.argmax(axis=1).tolist()]
        found: list[Endpoint] = []
        self._scan(silences, word_ends, letters, found)
        return found

    def _scan(self, silences: list[float], word_ends: list[bool], letters: list[bool], found: list[Endpoint]) -> None:
        for silence, word_end, letter in zip(silences, word_ends, letters, strict=True):
            step = self._step
            self._step = step + 1
            if self._length:
                self._silences.append(silence)
                self._word_ends.append(word_end)
                self._letters.append(letter)
            self.has_speech = self.has_speech or letter
            if silence < SILENT:
                self.first = step if self.first is None else self.first
                self.last = step + 1
            else:
                needed = self._silence if self.has_speech else self._no_speech
                if needed and step + 1 - (self.start if self.last is None else self.last) >= needed:
                    found.append(
                        Endpoint(step + 1, "silence" if self.has_speech else "no-speech", self.first, self.last)
                    )
                    self._begin(step + 1)
            if self._length and step + 1 - self.start >= self._length:
                self._divide(found)

    def _divide(self, found: list[Endpoint]) -> None:
        """End the utterance at its best cut; the steps after it are looked at again."""
        silences, word_ends, letters = self._silences, self._word_ends, self._letters
        count = find_cut(silences, word_ends)
        end = self.start + count
        sounds = [step for step in range(count) if silences[step] < SILENT]
        first, last = (self.start + sounds[0], self.start + sounds[-1] + 1) if sounds else (None, None)
        found.append(Endpoint(end, "length", first, last))
        self._begin(end)
        self._step = end
        self._scan(silences[count:], word_ends[count:], letters[count:], found)
