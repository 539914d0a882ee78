"""Divide the emission of a long recording into pieces at pauses, where the network itself finds no speech.

What is silent is in search/pauses.py. A piece ends in the middle of a pause: of `long_pause_s` at any time, of
`pause_s` if the piece has `target_s`. One that gets longer than `max_s` is divided by `find_cut`. Silence between
pieces is left out, but for `edge_s` before the first sound. Notation: T steps, V symbols with blank 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.search.pauses import SILENT, SilenceReader, find_cut
from ds2cli.text.vocab import Vocab


@dataclass(frozen=True)
class PieceLengths:
    """When a piece ends (s), see above."""

    pause_s: float = 0.4
    long_pause_s: float = 0.6
    target_s: float = 15.0
    max_s: float = 30.0
    edge_s: float = 0.5


class Piece(NamedTuple):
    """Log-probabilities (T, V) of a part of an emission, and its place in it.

    start: its first step.  first, last: the first step with a sound, and the one after the last such step.
    """

    log_probs: NDArray[np.float32]
    start: int
    first: int
    last: int


class PieceCutter:
    """Divides the emission of a recording, which arrives in parts of any length.

    silence: the sum of the highest log-probability of each step that is in no piece (nats).
    """

    def __init__(self, vocab: Vocab, step_s: float, lengths: PieceLengths = PieceLengths()) -> None:
        self.silence = 0.0
        self._read = SilenceReader(vocab)

        def steps(seconds: float) -> int:
            return max(round(seconds / step_s), 1)

        self._pause, self._long_pause = steps(lengths.pause_s), steps(lengths.long_pause_s)
        self._target, self._max, self._edge = steps(lengths.target_s), steps(lengths.max_s), steps(lengths.edge_s)
        self._parts: list[NDArray[np.float32]] = []
        # of the steps that are kept: the number of the first one, how silent each is, whether a word ends there, the
        # first and last sounds
        self._start = 0
        self._silences: list[float] = []
        self._word_ends: list[bool] = []
        self._first: int | None = None
        self._last = 0

    def advance(self, log_probs: NDArray[np.float32]) -> list[Piece]:
        """The pieces that are complete with the next steps (T, V)."""
        self._parts.append(log_probs)
        return list(self._scan(*self._read(log_probs)))

    def finish(self) -> list[Piece]:
        """The last piece, if there is a sound in it."""
        pieces = [] if self._first is None else list(self._cut(len(self._silences)))
        self._leave_out(len(self._silences))
        return pieces

    def _scan(self, silences: list[float], word_ends: list[bool]) -> Iterator[Piece]:
        for silence, word_end in zip(silences, word_ends, strict=True):
            self._silences.append(silence)
            self._word_ends.append(word_end)
            count = len(self._silences)
            if silence < SILENT:
                self._first = count - 1 if self._first is None else self._first
                self._last = count
            elif self._first is None:
                # twice as long, so that it is not shortened at every step
                if count > 2 * self._edge:
                    self._leave_out(count - self._edge)
            elif count - self._last >= (self._long_pause if self._last < self._target else self._pause):
                yield from self._cut((self._last + count) // 2)
            if self._first is not None and len(self._silences) >= self._max:
                yield from self._cut(find_cut(self._silences, self._word_ends))

    def _cut(self, end: int) -> Iterator[Piece]:
        """Take the steps up to `end` as a piece; the steps after it are looked at again."""
        kept, rest = self._join(), (self._silences[end:], self._word_ends[end:])
        assert self._first is not None
        first = self._first
        sounds = np.flatnonzero(np.array(self._silences[:end]) < SILENT)
        start, self._parts, self._first, self._last = self._start, [kept[end:].copy()], None, 0
        self._silences, self._word_ends = [], []
        self._start += end
        if len(sounds):
            yield Piece(kept[:end].copy(), start, start + first, start + int(sounds[-1]) + 1)
        else:
            self.silence += float(kept[:end].max(axis=1).sum(dtype=np.float64))
        yield from self._scan(*rest)

    def _leave_out(self, count: int) -> None:
        """Leave out the first steps, which are silent."""
        kept = self._join()
        self.silence += float(kept[:count].max(axis=1).sum(dtype=np.float64)) if count else 0.0
        self._parts, self._start = [kept[count:].copy()], self._start + count
        del self._silences[:count], self._word_ends[:count]

    def _join(self) -> NDArray[np.float32]:
        return np.concatenate(self._parts) if self._parts else np.zeros((0, 1), np.float32)
