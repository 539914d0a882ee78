"""What became of an utterance in the CTC loss."""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """`ds2_ctc_verdict` of native/include/ds2_native.h. Only FINE has a gradient, all others get exactly zero.

    code: the reason as tables count it.  sentence: for a person.
    """

    FINE = 0, "fine", "the label fits"
    TOO_SHORT = 1, "label-too-long", "a step a label, and one more between equal ones, is more than there are steps"
    IMPOSSIBLE = 2, "impossible-text", "every path that spells the label has probability 0"
    NOT_FINITE = 3, "not-finite", "the network's output is not finite"
    BAD_LABEL = 4, "bad-label", "a label is the blank or none of the symbols"
    BAD_LENGTH = 5, "bad-length", "a length is negative or beyond what is there"

    code: str
    sentence: str

    def __new__(cls, value: int, code: str = "", sentence: str = "") -> Verdict:
        """A member is its number; the words hang on it."""
        self = int.__new__(cls, value)
        self._value_, self.code, self.sentence = value, code, sentence
        return self
