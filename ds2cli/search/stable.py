"""Which part of a partial result to show, so that what is shown seldom changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


def complete_words(text: str) -> str:
    """The words of a partial result that another word follows: the last one may be incomplete."""
    return text.rpartition(" ")[0]


def shared_words(texts: Sequence[str]) -> str:
    """The words that all texts begin with; none for no texts."""
    split = [text.split() for text in texts]
    count = 0
    while split and all(count < len(words) and words[count] == split[0][count] for words in split):
        count += 1
    return " ".join(split[0][:count]) if split else ""


class LocalAgreement:
    """The beginning that the last `number` partial results have in common, letter by letter.

    Local agreement (Liu, Spanakis and Niehues 2020, Interspeech). A larger number shows words later and takes fewer of
    them back; 1 shows each result as it is. By letters, as a last word that gets more of them has not changed.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._texts: deque[str] = deque(maxlen=number)

    def advance(self, text: str) -> str:
        """What to show after one more partial result; nothing before there are `number` of them."""
        self._texts.append(text)
        if len(self._texts) < self.number:
            return ""
        first, last = min(self._texts), max(self._texts)
        # what the first and the last in alphabetical order share, those between share too
        count = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        return first[:count].rstrip()
