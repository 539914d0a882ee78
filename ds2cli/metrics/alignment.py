"""Alignments of many texts at once, in flat arrays.

Notation: P pairs, R reference units, H hypothesis units, S steps of all pairs together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels.apart import run_apart
from ds2cli.kernels.edit import DEL, INS, align_kaldi, count_steps
from ds2cli.kernels.edit_sclite import align_sclite
from ds2cli.kernels.text_units import join_words, number_words
from ds2cli.metrics.wer import Counts, EditStep

AlignmentRule = Literal["kaldi", "sclite"]
"""`kaldi`: every error costs 1.  `sclite`: an insertion or a deletion costs 3, a substitution 4."""

_ALIGN = {"kaldi": align_kaldi, "sclite": align_sclite}


@dataclass(frozen=True)
class Units:
    """The units of many texts in a row.

    ids: (R,) int32.  ends: (P,) int64, where those of each text end.
    """

    ids: NDArray[np.int32]
    ends: NDArray[np.int64]

    def slice(self, pair: int) -> slice:
        """Where the units of one text lie."""
        return slice(int(self.ends[pair - 1]) if pair else 0, int(self.ends[pair]))


@dataclass(frozen=True)
class Alignments:
    """The alignments of P pairs of texts.

    names: the unit of each id.  steps: (S,) uint8 of HIT, SUB, INS and DEL.  ends: (P,) int64, where the steps of each
    pair end.
    """

    names: Sequence[str]
    refs: Units
    hyps: Units
    steps: NDArray[np.uint8]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(P, 4): hits, substitutions, insertions and deletions of each pair."""
        return run_apart(count_steps, self.steps, self.ends)

    @cached_property
    def ref_ids(self) -> NDArray[np.int32]:
        """(S,): the id of the reference unit of each step, -1 for an insertion."""
        return _place(self.refs.ids, self.steps != INS)

    @cached_property
    def hyp_ids(self) -> NDArray[np.int32]:
        """(S,): the id of the hypothesis unit of each step, -1 for a deletion."""
        return _place(self.hyps.ids, self.steps != DEL)

    def slice(self, pair: int) -> slice:
        """Where the steps of one pair lie."""
        return slice(int(self.ends[pair - 1]) if pair else 0, int(self.ends[pair]))

    def total(self) -> Counts:
        """The counts of all pairs together."""
        hits, subs, ins, dels = (int(n) for n in self.counts.sum(axis=0))
        return Counts(hits, subs, ins, dels)

    def pair_counts(self, pair: int) -> Counts:
        """The counts of one pair."""
        hits, subs, ins, dels = (int(n) for n in self.counts[pair])
        return Counts(hits, subs, ins, dels)

    def edit_steps(self, pair: int) -> list[EditStep]:
        """The alignment of one pair: reference unit and hypothesis unit of each step; None where there is none."""
        place = self.slice(pair)
        names = self.names
        return [
            (names[r] if r >= 0 else None, names[h] if h >= 0 else None)
            for r, h in zip(self.ref_ids[place].tolist(), self.hyp_ids[place].tolist(), strict=True)
        ]


class _CodePoints(Sequence[str]):
    """The name of each id, where the ids are code points."""

    def __getitem__(self, id_: int) -> str:  # type: ignore[override]
        return chr(id_)

    def __len__(self) -> int:
        return sys.maxunicode + 1


class _Words(Sequence[str]):
    """The name of each id, read from the text where the word first occurs."""

    def __init__(self, points: NDArray[np.int32], spans: NDArray[np.int64]) -> None:
        self.points, self.spans = points, spans

    def __getitem__(self, id_: int) -> str:  # type: ignore[override]
        begin, end = self.spans[id_]
        return self.points[begin:end].tobytes().decode("utf-32-le", "surrogatepass")

    def __len__(self) -> int:
        return len(self.spans)


def align_words(
    refs: Sequence[str], hyps: Sequence[str], rule: AlignmentRule = "kaldi", threads: int = 1
) -> Alignments:
    """Align P pairs of texts word by word; a word is what `str.split` makes of a text."""
    texts = _read_texts([*refs, *hyps])
    ids, ends, spans = run_apart(number_words, texts.ids, texts.ends)
    return _align(_Words(texts.ids, spans), *_halves(Units(ids, ends)), len(spans), rule, threads)


def align_characters(
    refs: Sequence[str], hyps: Sequence[str], rule: AlignmentRule = "kaldi", threads: int = 1, *, spaces: bool = True
) -> Alignments:
    """Align P pairs of texts by characters (code points): those of the words, and one space between two words.

    spaces: whether spaces count; beside a Chinese character they never do.
    """
    texts = _read_texts([*refs, *hyps])
    names = _CodePoints()
    return _align(
        names, *_halves(Units(*run_apart(join_words, texts.ids, texts.ends, spaces))), len(names), rule, threads
    )


def align_units(
    refs: Sequence[Sequence[str]], hyps: Sequence[Sequence[str]], rule: AlignmentRule = "kaldi", threads: int = 1
) -> Alignments:
    """Align P pairs of sequences of any units, such as tokens."""
    numbers: dict[str, int] = {}
    for unit in chain.from_iterable(chain(refs, hyps)):
        numbers.setdefault(unit, len(numbers))
    return _align(list(numbers), _number(refs, numbers), _number(hyps, numbers), len(numbers), rule, threads)


def count(ref: Sequence[str], hyp: Sequence[str], rule: AlignmentRule = "kaldi") -> Counts:
    """Count the edits that turn the units `ref` into the units `hyp`."""
    return align_units([ref], [hyp], rule).pair_counts(0)


def align(ref: Sequence[str], hyp: Sequence[str], rule: AlignmentRule = "kaldi") -> list[EditStep]:
    """The alignment that `count` counts."""
    return align_units([ref], [hyp], rule).edit_steps(0)


def _align(
    names: Sequence[str], refs: Units, hyps: Units, num_symbols: int, rule: AlignmentRule, threads: int
) -> Alignments:
    align = _ALIGN[rule]
    parts = list(_split_evenly(refs.ends, hyps.ends, threads))

    def work(part: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        r, h = _part(refs, *part), _part(hyps, *part)
        return align(r.ids, r.ends, h.ids, h.ends, num_symbols)

    if len(parts) == 1:
        return Alignments(names, refs, hyps, *run_apart(work, parts[0]))
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(work, parts))
    before = np.cumsum([0, *(len(steps) for steps, _ in done)])
    ends = np.concatenate([ends + begin for (_, ends), begin in zip(done, before, strict=False)])
    return Alignments(names, refs, hyps, np.concatenate([steps for steps, _ in done]), ends)


def _number(texts: Sequence[Sequence[str]], numbers: dict[str, int]) -> Units:
    ends = np.cumsum([len(units) for units in texts], dtype=np.int64)
    ids = map(numbers.__getitem__, chain.from_iterable(texts))
    return Units(np.fromiter(ids, np.int32, int(ends[-1]) if len(ends) else 0), ends)


def _read_texts(texts: Sequence[str]) -> Units:
    """The code points of texts."""
    # a JSON string may hold half of a surrogate pair
    encoded = "".join(texts).encode("utf-32-le", "surrogatepass")
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return Units(np.frombuffer(encoded, "<i4"), np.cumsum(lengths))


def _halves(units: Units) -> tuple[Units, Units]:
    pairs = len(units.ends) // 2
    return _part(units, 0, pairs), _part(units, pairs, 2 * pairs)


def _part(units: Units, begin: int, end: int) -> Units:
    first = int(units.ends[begin - 1]) if begin else 0
    last = int(units.ends[end - 1]) if end else 0
    return Units(units.ids[first:last], units.ends[begin:end] - first)


def _split_evenly(ref_ends: NDArray[np.int64], hyp_ends: NDArray[np.int64], parts: int) -> Iterator[tuple[int, int]]:
    """Ranges of pairs with about equally many units; at least one, perhaps empty."""
    ends = ref_ends + hyp_ends
    total = int(ends[-1]) if len(ends) else 0
    limits = [0, *(int(np.searchsorted(ends, total * k // parts)) for k in range(1, parts)), len(ends)]
    ranges = [(begin, end) for begin, end in pairwise(limits) if begin < end]
    yield from ranges or [(0, 0)]


def _place(ids: NDArray[np.int32], where: NDArray[np.bool_]) -> NDArray[np.int32]:
    placed = np.full(len(where), -1, dtype=np.int32)
    placed[where] = ids
    return placed
