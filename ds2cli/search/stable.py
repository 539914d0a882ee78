"""Which part of a partial result to show, so that what is shown seldom changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


def shared_words(texts: Sequence[str]) -> str:
    """The words that all texts begin with; none for no texts."""
    split = [text.split() for text in texts]
    count = 0
    while split and all(count < len(words) and words[count] == split[0][count] for words in split):
        count += 1
    return " ".join(split[0][:count]) if split else ""


class LocalAgreement:
    """Words that the last `number` partial results have in common at their beginning.

    Local agreement (Liu, Spanakis and Niehues 2020, Interspeech). A larger number shows words later and takes fewer of
    them back; 1 shows each result as it is.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._texts: deque[str] = deque(maxlen=number)

    def advance(self, text: str) -> str:
        """The words to show after one more partial result; none before there are `number` of them."""
        self._texts.append(text)
        return shared_words(self._texts) if len(self._texts) == self.number else ""
