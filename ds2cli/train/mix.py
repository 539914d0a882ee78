"""Several corpora as one training set: all of the first in each epoch, and of each further one its share.

With N utterances in the first corpus and weights w, an epoch has N / (1 - Σw) utterances in all, and of corpus i
the share w_i of them. They are drawn without replacement: a corpus is passed in a random order, from where the epoch
before ended; when all were seen, it is passed again in another order. A share that is larger than its corpus therefore
has utterances more than once, and the smallest share is one utterance. Everything follows from (seed, epoch).
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, combinations
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.recording import Recording
from ds2cli.errors import DataError
from ds2cli.train.examples import Utterance, min_frames, num_frames
from ds2cli.train.table import UtteranceTable

_MIX = 0x6D6978
"""Distinguishes these random numbers from others of the same seed."""


@dataclass(frozen=True, eq=False)
class Corpora(Sequence[Utterance]):
    """The utterances of several corpora, one corpus after another."""

    tables: tuple[UtteranceTable, ...]

    def __len__(self) -> int:
        return sum(self.sizes)

    @overload
    def __getitem__(self, place: int) -> Utterance: ...
    @overload
    def __getitem__(self, place: slice) -> list[Utterance]: ...
    def __getitem__(self, place: int | slice) -> Utterance | list[Utterance]:
        places = range(len(self))[place]
        return self._utterance(places) if isinstance(places, int) else [self._utterance(n) for n in places]

    def __iter__(self) -> Iterator[Utterance]:
        for table in self.tables:
            yield from table

    def __getstate__(self) -> dict[str, Any]:
        """Another process counts the frames itself."""
        return {"tables": self.tables}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def sizes(self) -> list[int]:
        """The number of utterances of each corpus."""
        return [len(table) for table in self.tables]

    @cached_property
    def num_frames(self) -> NDArray[np.int32]:
        """Frames of each utterance."""
        return np.concatenate([num_frames(table) for table in self.tables])

    @property
    def min_frames(self) -> NDArray[np.int32]:
        """Frames that the labels of each utterance need."""
        return np.concatenate([min_frames(table) for table in self.tables])

    @cached_property
    def fingerprint(self) -> str:
        """That of each corpus, in order."""
        return hashlib.sha256(" ".join(table.fingerprint for table in self.tables).encode()).hexdigest()

    def read_id(self, place: int) -> str:
        """The id of an utterance, without the rest of it."""
        table, row = self._find(place)
        return table.read_id(row)

    def read_ids(self) -> Iterator[list[str]]:
        """The ids, many at a time."""
        for table in self.tables:
            yield from table.read_ids()

    def read_recordings(self, places: NDArray[np.int64]) -> list[Recording | None]:
        """The recordings of the utterances at ascending places."""
        found: list[Recording | None] = []
        begin = 0
        for table in self.tables:
            own = places[(places >= begin) & (places < begin + len(table))] - begin
            found += table.read_recordings(own) if len(own) else []
            begin += len(table)
        return found

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(self.sizes))

    def _find(self, place: int) -> tuple[UtteranceTable, int]:
        """The corpus of an utterance, and its position in it."""
        number = bisect.bisect_right(self._ends, place)
        return self.tables[number], place - (self._ends[number - 1] if number else 0)

    def _utterance(self, place: int) -> Utterance:
        table, row = self._find(place)
        return table[row]


def refuse_shared_ids(tables: Sequence[UtteranceTable], names: Sequence[str]) -> None:
    """DataError if two corpora have an id in common: the losses of utterances are known by their ids.

    names: of the tables.
    """
    hashes = [np.sort(np.fromiter(map(hash, chain.from_iterable(t.read_ids())), np.int64, len(t))) for t in tables]
    for first, second in combinations(range(len(tables)), 2):
        common = set(np.intersect1d(hashes[first], hashes[second]).tolist())
        if shared := _ids_of(tables[first], common) & _ids_of(tables[second], common):
            raise DataError(
                f"train: {names[second]} and {names[first]} have ids in common, {len(shared)} in all, such as "
                f"{min(shared)} (ds2 data subset --without leaves them out)"
            )


def _ids_of(table: UtteranceTable, hashes: set[int]) -> set[str]:
    return {name for name in chain.from_iterable(table.read_ids()) if hash(name) in hashes} if hashes else set()


def draw_utterances(sizes: Sequence[int], weights: Sequence[float], seed: int, epoch: int) -> NDArray[np.int32]:
    """The positions in `Corpora` of an epoch's utterances: all of the first corpus, then the share of each other.

    sizes: of all corpora.  weights: of all but the first.
    """
    total, begin = sizes[0] / (1 - sum(weights)), sizes[0]
    drawn = [np.arange(sizes[0], dtype=np.int32)]
    for number, (size, weight) in enumerate(zip(sizes[1:], weights, strict=True)):
        share = max(int(weight > 0), round(weight * total))
        drawn.append(begin + _draw(size, epoch * share, (epoch + 1) * share, (seed, _MIX, number)))
        begin += size
    return np.concatenate(drawn)


def _draw(size: int, begin: int, end: int, key: tuple[int, ...]) -> NDArray[np.int32]:
    """From `begin` to `end` of an endless sequence, which is one random order of `size` positions after another."""
    parts = [np.zeros(0, np.int32)]
    while begin < end:
        pass_number, first = divmod(begin, size)
        last = min(size, first + end - begin)
        order = np.random.default_rng((*key, pass_number)).permutation(size)
        parts.append(order[first:last].astype(np.int32))
        begin += last - first
    return np.concatenate(parts)
