"""The result of a search."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One text for one utterance; logarithms are natural.

    score: what hypotheses are ranked by.  am: log p_ctc(labels).  lm: log p_lm(text), unweighted, 0 without a language
    model.  labels: the symbols that spell the text; with symbols of several characters, others may spell it too.
    """

    text: str
    score: float
    am: float
    lm: float
    labels: tuple[int, ...]
