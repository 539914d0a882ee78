"""Where the network finds no speech, and where to divide a stretch of its output between two words.

A step is silent if the network gives blank and space together at least the probability SILENT. Notation: T steps, V
symbols with blank 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ds2cli.text.vocab import Vocab

SILENT = 0.9
"""Probability of blank and space from which on a step is silent."""

WORD_END = 0.5
"""Probability of the space from which on a step is the end of a word."""


class SilenceReader:
    """Reads how silent each step is, for one vocabulary."""

    def __init__(self, vocab: Vocab) -> None:
        self._space = vocab.symbols.index(" ") if " " in vocab.symbols else None

    def __call__(self, log_probs: NDArray[np.float32]) -> tuple[list[float], list[bool]]:
        """The probability of blank and space together at each step (T,), and whether a word ends there.

        log_probs: (T, V) float32, log-probabilities without NaN. Plain numbers, as there are few steps per call.
        """
        exp = math.exp
        blanks = [exp(x) for x in log_probs[:, 0].tolist()]
        if self._space is None:
            return blanks, [False] * len(blanks)
        spaces = [exp(x) for x in log_probs[:, self._space].tolist()]
        return [a + b for a, b in zip(blanks, spaces, strict=True)], [p >= WORD_END for p in spaces]


def find_cut(silences: list[float], word_ends: list[bool]) -> int:
    """Where to divide T >= 1 steps in two: the number of steps before the cut, at least 1.

    That is the middle of the longest pause, not counting the first and last fifth; a pause in which a word ends goes
    before those in which none does, as the network also writes blanks within a word. Without a pause: the last step of
    a word that ends there, else the most silent step.
    """
    total = len(silences)
    begin, end = min(max(total // 5, 1), total), max(total - total // 5, 2)
    inner = np.array(silences[begin:end])
    if not len(inner):
        return begin
    ends = np.array(word_ends[begin:end])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inner >= SILENT, [False]]).astype(int))).reshape(-1, 2)
    if not len(edges):
        return begin + int((inner + ends).argmax())
    has_end = [bool(ends[first:last].any()) for first, last in edges]
    lengths = (edges[:, 1] - edges[:, 0]) + total * np.array(has_end)
    first, last = edges[lengths.argmax()].tolist()
    return int(begin + (first + last) // 2)
