"""Error attribution: why each wrong word is wrong, from the search's own scores of the reference and the hypothesis.

Errors are attributed by regions. A region is a run of substitutions, insertions and deletions between correct words;
its repair is the hypothesis with the words of this region only replaced by the reference's. So an error is not blamed
on another one elsewhere in the utterance, while words that can only be corrected together are scored together.

With Q the score of the search (Deep Speech 2, equation 12) and am its part log p_ctc, the cause is the first of these
that applies:

    unspellable  a reference word of the region has a character that is not in the alphabet: no search could write it
    search       Q(repair) > Q(hypothesis): the search scored the correct words higher, but pruned them
    oov          the reference word is out of the language model's vocabulary (insertion: some word of its region is)
    lm           am(repair) >= am(hypothesis): the acoustics preferred the reference, the language model overruled them
    acoustic     am(repair) < am(hypothesis): the network recognized the wrong words
    unexplained  there is nothing to score: no emission, or no hypothesis
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.metrics.alignment import align
from ds2cli.metrics.wer import UNITS, EditStep
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.search.text_score import ExactScorer

UNSPELLABLE, SEARCH, OOV, LM, ACOUSTIC, UNEXPLAINED = "unspellable", "search", "oov", "lm", "acoustic", "unexplained"

TOLERANCE = 1e-6
"""Nats by which a repair must score higher: both scores are sums of many terms."""


@dataclass(frozen=True)
class Error:
    """One wrong word and its cause.

    ref, hyp: the word in the reference and in the hypothesis; None for an insertion or a deletion.
    am, lm, score: the repair of its region minus the hypothesis (nats); None where either is not finite.
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
    """The errors of an utterance in order, and its hypothesis with exact scores."""

    errors: list[Error]
    hypothesis: Hypothesis


def attribute(
    log_probs: NDArray[np.float32], ref: str, hyp: str, score: ExactScorer, unit: str = "word"
) -> Attribution:
    """The cause of each error of `hyp`.

    log_probs: (T, V) float32, contiguous log-probabilities without NaN, from which `hyp` was decoded.
    unit: "word" or "char", the unit that errors are counted in.
    Raises BadUtterance "unspellable" for a hypothesis with characters that are not in the alphabet.
    """
    hypothesis = score(log_probs, hyp)
    steps = align(UNITS[unit](ref), UNITS[unit](hyp))
    errors: list[Error] = []
    for begin, end in error_regions(steps):
        if not all(score.can_spell(ref_word) for ref_word, _ in steps[begin:end] if ref_word is not None):
            errors += [Error(ref_word, hyp_word, UNSPELLABLE) for ref_word, hyp_word in steps[begin:end]]
            continue
        repair = score(log_probs, repair_region(steps, begin, end, unit))
        errors += _attribute_region(steps[begin:end], repair, hypothesis, score)
    return Attribution(errors, hypothesis)


def unexplained_errors(ref: str, hyp: str, unit: str = "word") -> list[Error]:
    """The errors of an utterance without an emission or a hypothesis, which are not attributed."""
    steps = align(UNITS[unit](ref), UNITS[unit](hyp))
    return [Error(ref_word, hyp_word, UNEXPLAINED) for ref_word, hyp_word in steps if ref_word != hyp_word]


def error_regions(steps: Sequence[EditStep]) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of errors."""
    begin = None
    for i, (ref_word, hyp_word) in enumerate(steps):
        if ref_word != hyp_word:
            begin = i if begin is None else begin
        elif begin is not None:
            yield begin, i
            begin = None
    if begin is not None:
        yield begin, len(steps)


def repair_region(steps: Sequence[EditStep], begin: int, end: int, unit: str = "word") -> str:
    """The hypothesis with the reference's words in the steps `begin` to `end` - 1."""
    units = [ref_word if begin <= i < end else hyp_word for i, (ref_word, hyp_word) in enumerate(steps)]
    return (" " if unit == "word" else "").join(u for u in units if u is not None)


def errors_as_fields(errors: Sequence[Error]) -> list[dict[str, Any]]:
    """Errors in a row's format, nats rounded to four decimals."""
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


def _attribute_region(
    steps: Sequence[EditStep], repair: Hypothesis, hypothesis: Hypothesis, score: ExactScorer
) -> Iterator[Error]:
    differences = [
        a - b if math.isfinite(a) and math.isfinite(b) else None
        for a, b in ((repair.am, hypothesis.am), (repair.lm, hypothesis.lm), (repair.score, hypothesis.score))
    ]
    oov_words = {ref_word for ref_word, _ in steps if ref_word is not None and not score.in_vocabulary(ref_word)}
    for ref_word, hyp_word in steps:
        if repair.score > hypothesis.score + TOLERANCE:
            cause = SEARCH
        elif ref_word in oov_words or (ref_word is None and oov_words):
            cause = OOV
        elif repair.am >= hypothesis.am and repair.score < hypothesis.score:
            cause = LM
        else:
            # also without a language model, and where both score the same: the network alone decided
            cause = ACOUSTIC
        yield Error(ref_word, hyp_word, cause, *differences)
