"""The outcome of the CTC loss for one utterance."""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """`ds2_ctc_verdict` in native/include/ds2_native.h. Only OK has a gradient; for all others it is exactly zero.

    code: the reason code in tables and drop lists.  sentence: the reason in words.
    """

    OK = 0, "fine", "the label fits"
    TOO_SHORT = 1, "label-too-long", "the label needs more steps (one per symbol, one more between equal neighbors)"
    IMPOSSIBLE = 2, "impossible-text", "every alignment of the label has probability 0"
    NOT_FINITE = 3, "not-finite", "the output of the network is not finite"
    BAD_LABEL = 4, "bad-label", "the label contains the blank or an index that is not a symbol"
    BAD_LENGTH = 5, "bad-length", "a length is negative or greater than the array"

    code: str
    sentence: str

    def __new__(cls, value: int, code: str = "", sentence: str = "") -> Verdict:
        """The member is its number, with the code and the sentence as attributes."""
        self = int.__new__(cls, value)
        self._value_, self.code, self.sentence = value, code, sentence
        return self
