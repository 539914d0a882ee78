"""Word and character error rates: count the edits between reference and hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.kernels.edit import edit_counts, edit_ops

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
    """Split into the units of the character error rate: every character, and one space between words."""
    return list(" ".join(text.split()))


UNITS = {"word": words, "char": characters}


def count(ref: Sequence[str], hyp: Sequence[str]) -> Counts:
    """Count the edits that turn the units `ref` into the units `hyp`."""
    return Counts(*(int(n) for n in edit_counts(*_encode_units(ref, hyp))))


def align(ref: Sequence[str], hyp: Sequence[str]) -> list[EditStep]:
    """The alignment that `count` counts, one step per pair of units.

    NeededError if one byte per pair of a reference unit and a hypothesis unit does not fit in memory.
    """
    size = f"{len(ref)} reference units x {len(hyp)} hypothesis units"
    with memory.needed((len(ref) + 1) * (len(hyp) + 1), size):
        ops = edit_ops(*_encode_units(ref, hyp))
    return [(ref[i] if i >= 0 else None, hyp[j] if j >= 0 else None) for i, j in ops.tolist()]


def _encode_units(ref: Sequence[str], hyp: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    ids: dict[str, int] = {}

    def encode(units: Sequence[str]) -> NDArray[np.int32]:
        return np.array([ids.setdefault(unit, len(ids)) for unit in units], dtype=np.int32)

    return encode(ref), encode(hyp)
