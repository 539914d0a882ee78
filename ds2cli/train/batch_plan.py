"""The batches of an epoch, as positions in the training set. N utterances, B batches.

A training set of ten million utterances has a million batches: they are three arrays, not a list of lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Batches(Sequence[list[int]]):
    """Batches of positions in the training set, the longest first in each.

    order: (N,) int32, positions from short to long.  ends: (B,) int64, where batches end in it.
    turn: (B,) the order of the batches.
    """

    order: NDArray[np.int32]
    ends: NDArray[np.int64]
    turn: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.turn)

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> Batches: ...
    def __getitem__(self, index: int | slice) -> list[int] | Batches:
        if isinstance(index, slice):
            return Batches(self.order, self.ends, self.turn[index])
        number = self.turn[index]
        begin = self.ends[number - 1] if number else 0
        batch: list[int] = self.order[begin : self.ends[number]][::-1].tolist()
        return batch

    def __eq__(self, other: Any) -> bool:
        """Whether the same batches come in the same order."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(list.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of utterances of each batch, (B,)."""
        return np.diff(self.ends, prepend=0)[self.turn]

    @property
    def longest(self) -> NDArray[np.int32]:
        """The position of the longest utterance of each batch, (B,)."""
        return self.order[self.ends - 1][self.turn]


@dataclass(frozen=True)
class Steps(Sequence[list[list[int]]]):
    """The steps of an epoch, each of `size` batches, the last one perhaps of fewer."""

    batches: Batches
    size: int = 1

    def __len__(self) -> int:
        return -(-len(self.batches) // self.size)

    @overload
    def __getitem__(self, index: int) -> list[list[int]]: ...
    @overload
    def __getitem__(self, index: slice) -> Steps: ...
    def __getitem__(self, index: int | slice) -> list[list[int]] | Steps:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise ValueError(f"steps: expected consecutive ones, got every {step}th")
            return Steps(self.batches[start * self.size : stop * self.size], self.size)
        begin = range(len(self))[index] * self.size
        return list(self.batches[begin : begin + self.size])
