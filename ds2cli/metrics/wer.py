"""Counts of edits, and the units of word and character error rates."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.metrics.unit_split import join_characters

EditStep = tuple[str | None, str | None]
"""One step of an alignment: reference unit and hypothesis unit; None on the empty side of an insertion or deletion."""


@dataclass(frozen=True)
class Counts:
    """Counts of edit operations; they add up over utterances."""

    hits: int = 0
    subs: int = 0
    ins: int = 0
    dels: int = 0

    @property
    def total(self) -> int:
        """Length of the reference in units."""
        return self.hits + self.subs + self.dels

    @property
    def errors(self) -> int:
        """Substitutions, insertions and deletions."""
        return self.subs + self.ins + self.dels

    @property
    def rate(self) -> float:
        """Error rate in percent; for an empty reference 0, or infinity if the hypothesis is not empty."""
        if not self.total:
            return float("inf") if self.errors else 0.0
        return 100.0 * self.errors / self.total

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.hits + other.hits, self.subs + other.subs, self.ins + other.ins, self.dels + other.dels)


def words(text: str) -> list[str]:
    """Split into the units of the word error rate, at white space."""
    return text.split()


def characters(text: str) -> list[str]:
    """Split into the units of the character error rate: every character, and one space between words.

    A space beside a Chinese character is none.
    """
    return list(join_characters(text))


UNITS = {"word": words, "char": characters}
