"""From rows that can be read to the utterances that can be used: their features and labels are checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.archive import forget_pages, map_archive
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.kernels import row_check
from ds2cli.text.vocab import Vocab
from ds2cli.train.examples import Utterance, hashed_part
from ds2cli.train.scan import Candidate, Candidates, read_candidate
from ds2cli.train.table import INDEX, Store, UtteranceTable

ARCHIVES = 32
"""Archives that the kernel can look into at a time."""

DIGEST = 8 << 20
"""Bytes that are hashed at a time; a longer text is left to Python."""

LARGE = 1 << 12
"""Bytes that are hashed in another thread."""

Check = Callable[[Candidate, int | None], tuple[Utterance, int]]
"""The utterance of a row, and the bins of its features; None or the bins they have to have. Raises BadUtterance."""


class TableBuilder:
    """Checks candidates, in order, and writes the table of those that can be used."""

    def __init__(
        self, vocab: Vocab, stride: int, needs_audio: bool, check: Check, ledger: Ledger, bins: int | None = None
    ) -> None:
        """stride: of the network.  needs_audio: whether rows have to have a recording.  bins: None as in the first."""
        self.vocab, self.stride, self.needs_audio, self.check, self.ledger = vocab, stride, needs_audio, check, ledger
        self.bins = bins
        self._symbols = _symbol_table(vocab)
        self._archives = _Archives()
        self._digest = np.empty(DIGEST, np.uint8)

    def build(self, candidates: Candidates) -> UtteranceTable:
        """The table of the candidates that can be used; the others are dropped."""
        index, digest = Store(candidates.space, "index"), hashlib.sha256()
        with ThreadPoolExecutor(1) as pool:
            # a hash takes as long as the checks
            pending: Future[None] | None = None

            def update(data: bytes) -> None:
                nonlocal pending
                if pending is not None:
                    pending.result()
                pending = None
                if len(data) > LARGE:
                    pending = pool.submit(digest.update, data)
                else:
                    digest.update(data)

            for place, data, sizes in candidates.chunks():
                index.append(self._check_chunk(place, data, sizes, update))
                forget_pages()
            if pending is not None:
                pending.result()
        return UtteranceTable(candidates.pool, index, self.vocab, digest.hexdigest(), candidates.space)

    def _check_chunk(
        self, place: int, data: NDArray[np.uint8], sizes: NDArray[np.int32], update: Callable[[bytes], None]
    ) -> NDArray[Any]:
        """The index of the rows of a chunk that can be used."""
        frames, needed = np.zeros(len(sizes), np.int32), np.zeros(len(sizes), np.int32)
        usable = np.ones(len(sizes), np.bool_)
        row = at = 0
        while row < len(sizes):
            why = row_check.NOT_PLAIN
            if self._symbols is not None and self.bins is not None:
                row, at, used, why = row_check.check_rows(
                    data, sizes, at, row, self._archives.arrays, self.bins, self._symbols, self.stride,
                    self.needs_audio, frames, needed, self._digest,
                )  # fmt: skip
                if used:
                    update(self._digest[:used].tobytes())
                if why == row_check.END:
                    break
                if why == row_check.FULL and used:
                    continue
            size = int(sizes[row].sum())
            candidate = read_candidate(data[at : at + size].tobytes(), sizes[row])
            if why == row_check.NOT_PLAIN and self._archives.add(candidate.feats):
                continue
            try:
                utterance, self.bins = self.check(candidate, self.bins)
                frames[row], needed[row] = utterance.num_frames, utterance.min_frames
                update(hashed_part(utterance))
            except BadUtterance as e:
                self.ledger.drop_error(candidate.id, e)
                usable[row] = False
            row, at = row + 1, at + size
        begins = place + np.cumsum(sizes.sum(axis=1, dtype=np.int64)) - sizes.sum(axis=1)
        entries = np.empty(len(sizes), INDEX)
        entries["at"], entries["sizes"], entries["frames"], entries["needed"] = begins, sizes, frames, needed
        return entries[usable]


class _Archives:
    """The archives that the kernel looks into; the one that was added first makes room for another.

    arrays: their bytes, their names one after another, and where each name ends.
    """

    def __init__(self) -> None:
        self._bytes: dict[str, NDArray[np.uint8]] = {}
        self._unusable: set[str] = set()
        self._update()

    def add(self, feats: str) -> bool:
        """Add the archive of a reference to features; False if it is there already, or cannot be read."""
        path = feats.rpartition(":")[0]
        if not path or path in self._bytes or path in self._unusable:
            return False
        try:
            data = map_archive(path)
        except BadUtterance:
            self._unusable.add(path)
            return False
        if len(self._bytes) == ARCHIVES:
            del self._bytes[next(iter(self._bytes))]
        self._bytes[path] = np.frombuffer(data, np.uint8)
        self._update()
        return True

    def _update(self) -> None:
        empty = np.frombuffer(b"", np.uint8)
        names = [path.encode("utf-8", "surrogatepass") for path in self._bytes]
        arrays = (*self._bytes.values(), *[empty] * (ARCHIVES - len(self._bytes)))
        self.arrays = (
            arrays,
            np.frombuffer(b"".join(names), np.uint8),
            np.cumsum([len(n) for n in names], dtype=np.int64),
        )


def _symbol_table(vocab: Vocab) -> NDArray[np.int32] | None:
    """The symbol of each code point, 0 if it has none; None if symbols are not single characters."""
    if not vocab.by_character:
        return None
    points = [ord(symbol) for symbol in vocab.symbols[1:]]
    table = np.zeros(max(points, default=0) + 1, np.int32)
    table[points] = range(1, len(points) + 1)
    return table
