"""What a search hands back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One text for one utterance; logarithms are natural.

    score: what it was ranked by.  am: log p_ctc(labels).  lm: log p_lm(text), unweighted, 0 without a model.
    labels: the symbols that spell the text; of several characters, others may spell it too.
    """

    text: str
    score: float
    am: float
    lm: float
    labels: tuple[int, ...]
