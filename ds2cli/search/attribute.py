"""Why a word came out wrong: the reference and the hypothesis, scored by the search that chose between them.

Wrong words are judged by regions. A region is a run of substitutions, insertions and deletions between two words that
are right; its repair is the hypothesis with the words of this region, and of no other, replaced by the reference's. So
one error is not blamed for another at the far end of the utterance, while words that can only be right together are
judged together. With Q the score of the search (Deep Speech 2, equation 12) and am its part log p_ctc, a cause is the
first of these that holds:

    unspellable  a reference word of the region has a character that the alphabet lacks: no search could write it
    search       Q(repair) > Q(hypothesis): the search had scored the right words higher, but pruned them
    oov          the language model does not know the reference word (an insertion: a reference word of its region)
    lm           am(repair) >= am(hypothesis): the acoustics had it right, the language model overruled them
    acoustic     am(repair) < am(hypothesis): the network heard the wrong words
    unexplained  there is nothing to score: no emission, or no hypothesis
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.metrics.wer import UNITS, EditStep, align
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.search.text_score import TextScore

UNSPELLABLE, SEARCH, OOV, LM, ACOUSTIC, UNEXPLAINED = "unspellable", "search", "oov", "lm", "acoustic", "unexplained"

TOLERANCE = 1e-6
"""Nats by which a repair must be better: the two scores are sums of many terms."""


@dataclass(frozen=True)
class Error:
    """One wrong word and its cause.

    ref, hyp: the word said and the word found; None for an insertion or a deletion.
    am, lm, score: the repair of its region less the hypothesis (nats); None where there is no such number.
    """

    ref: str | None
    hyp: str | None
    cause: str
    am: float | None = None
    lm: float | None = None
    score: float | None = None

    @property
    def kind(self) -> str:
        """sub, ins or del."""
        return "ins" if self.ref is None else "del" if self.hyp is None else "sub"


@dataclass(frozen=True)
class Attribution:
    """The errors of an utterance in order, and its hypothesis as the search scores it."""

    errors: list[Error]
    hypothesis: Hypothesis


def attribute(log_probs: NDArray[np.float32], ref: str, hyp: str, score: TextScore, unit: str = "word") -> Attribution:
    """The cause of each error of `hyp`; `EditStep`s of the alignment that are right have none.

    log_probs: (T, V) float32, contiguous log-probabilities without NaN, that `hyp` was found in.
    unit: "word" or "char", what an error is counted in.
    BadUtterance "unspellable" when the hypothesis is not of this alphabet.
    """
    found = score(log_probs, hyp)
    steps = align(UNITS[unit](ref), UNITS[unit](hyp))
    errors: list[Error] = []
    for begin, end in regions(steps):
        if not all(score.spells(said) for said, _ in steps[begin:end] if said is not None):
            errors += [Error(said, heard, UNSPELLABLE) for said, heard in steps[begin:end]]
            continue
        repair = score(log_probs, repaired(steps, begin, end, unit))
        errors += _judged(steps[begin:end], repair, found, score)
    return Attribution(errors, found)


def unexplained(ref: str, hyp: str, unit: str = "word") -> list[Error]:
    """The errors of an utterance that there is no emission for."""
    steps = align(UNITS[unit](ref), UNITS[unit](hyp))
    return [Error(said, heard, UNEXPLAINED) for said, heard in steps if said != heard]


def regions(steps: Sequence[EditStep]) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of errors."""
    begin = None
    for i, (said, heard) in enumerate(steps):
        if said != heard:
            begin = i if begin is None else begin
        elif begin is not None:
            yield begin, i
            begin = None
    if begin is not None:
        yield begin, len(steps)


def repaired(steps: Sequence[EditStep], begin: int, end: int, unit: str = "word") -> str:
    """The hypothesis with the reference's words from step `begin` to `end`."""
    units = [said if begin <= i < end else heard for i, (said, heard) in enumerate(steps)]
    return (" " if unit == "word" else "").join(u for u in units if u is not None)


def as_fields(errors: Sequence[Error]) -> list[dict[str, Any]]:
    """Errors as a row carries them: nats to four places."""
    return [
        {
            "ref": e.ref,
            "hyp": e.hyp,
            "kind": e.kind,
            "cause": e.cause,
            **{n: round(v, 4) for n, v in (("am", e.am), ("lm", e.lm), ("score", e.score)) if v is not None},
        }
        for e in errors
    ]


def _judged(steps: Sequence[EditStep], repair: Hypothesis, found: Hypothesis, score: TextScore) -> Iterator[Error]:
    differences = [
        a - b if math.isfinite(a) and math.isfinite(b) else None
        for a, b in ((repair.am, found.am), (repair.lm, found.lm), (repair.score, found.score))
    ]
    strange = {said for said, _ in steps if said is not None and not score.knows(said)}
    for said, heard in steps:
        if repair.score > found.score + TOLERANCE:
            cause = SEARCH
        elif said in strange or (said is None and strange):
            cause = OOV
        elif repair.am >= found.am and repair.score < found.score:
            cause = LM
        else:
            # without a model, or where nothing prefers either text, the network alone has chosen
            cause = ACOUSTIC
        yield Error(said, heard, cause, *differences)
