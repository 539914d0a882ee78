"""What a scored set is told in: Kaldi's summary lines, the worst utterances word by word, the commonest mistakes."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ds2cli.metrics.causes import NOTHING, Causes, shown
from ds2cli.metrics.oracle import Oracle
from ds2cli.metrics.wer import UNITS, Counts, EditStep, align, count

RATE_NAMES = {"word": "WER", "char": "CER"}

Errors = Sequence[Mapping[str, Any]]
"""The errors of an utterance with their causes, as a row carries them."""


def rate_line(name: str, counts: Counts) -> str:
    """Kaldi's `%WER 13.45 [ 2708 / 20138, 358 ins, 330 del, 2020 sub ]`."""
    edits = f"{counts.ins} ins, {counts.dels} del, {counts.subs} sub"
    return f"%{name} {counts.rate:.2f} [ {counts.errors} / {counts.total}, {edits} ]"


def utterance_lines(name: str, steps: Sequence[EditStep], errors: Errors | None = None) -> list[str]:
    """Four rows of one alignment as Kaldi's per_utt: ref, hyp, op (C S I D) and their counts.

    errors: of its steps that are no hits, in order; they make a fifth row with the cause of each.
    """
    ref = [NOTHING if r is None else r for r, _ in steps]
    hyp = [NOTHING if h is None else h for _, h in steps]
    op = ["I" if r is None else "D" if h is None else "C" if r == h else "S" for r, h in steps]
    columns = {"ref": ref, "hyp": hyp, "op": op}
    if errors is not None:
        causes = (error["cause"] for error in errors)
        columns["why"] = ["" if letter == "C" else next(causes) for letter in op]
    widths = [max(map(len, column)) for column in zip(*columns.values(), strict=True)]
    rows = {
        kind: "  ".join(unit.ljust(w) for unit, w in zip(units, widths, strict=True)).rstrip()
        for kind, units in columns.items()
    }
    rows["#csid"] = " ".join(str(op.count(letter)) for letter in "CSID")
    return [f"{name} {kind:<5} {row}".rstrip() for kind, row in rows.items()]


@dataclass
class Report:
    """Counts of a whole set; `add` one utterance at a time, then read `lines`.

    units: what to count, of "word" and "char"; the first is the one utterances are ranked and aligned by.
    worst: how many of the worst utterances to keep.  confusions: how many of the commonest mistakes to show.
    why: whether to show the causes of errors, and the best of N hypotheses for several N.
    """

    units: Sequence[str] = ("word", "char")
    worst: int = 0
    confusions: int = 0
    why: bool = False
    totals: dict[str, Counts] = field(default_factory=dict)
    groups: dict[str, dict[str, Counts]] = field(default_factory=dict)
    sentences: int = 0
    wrong: int = 0
    missing: int = 0
    causes: Causes = field(default_factory=Causes)
    oracle: Oracle = field(default_factory=Oracle)
    _mistakes: Counter[EditStep] = field(default_factory=Counter)
    _worst: list[tuple[int, int, str, str, str, Errors | None]] = field(default_factory=list)

    def add(
        self,
        name: str,
        ref: str,
        hyp: str | None,
        group: str | None = None,
        *,
        nbest: Sequence[str] | None = None,
        errors: Errors | None = None,
    ) -> Counts:
        """Score one utterance; without a hypothesis all of it is deleted. Returns its counts in the first unit.

        nbest: hypotheses to choose the best of; without them it is `hyp`.  errors: with their causes.
        """
        self.sentences += 1
        self.missing += hyp is None
        hyp = hyp or ""
        counted = {unit: count(UNITS[unit](ref), UNITS[unit](hyp)) for unit in self.units}
        for unit, counts in counted.items():
            self.totals[unit] = self.totals.get(unit, Counts()) + counts
            if group is not None:
                of_group = self.groups.setdefault(group, {})
                of_group[unit] = of_group.get(unit, Counts()) + counts
        first = counted[self.units[0]]
        split = UNITS[self.units[0]]
        self.oracle.add([count(split(ref), split(text)) for text in nbest] if nbest else [first])
        self.causes.add(errors or [])
        self.wrong += first.errors > 0
        if self.confusions and first.errors:
            self._mistakes.update(step for step in self._align(ref, hyp) if step[0] != step[1])
        if self.worst and first.errors:
            # the count down keeps the earlier of two equals, and no two entries are ever compared by their text
            heapq.heappush(self._worst, (first.errors, -self.sentences, name, ref, hyp, errors))
            if len(self._worst) > self.worst:
                heapq.heappop(self._worst)
        return first

    def counts(self, unit: str) -> Counts:
        """The counts of the whole set in `unit`."""
        return self.totals.get(unit, Counts())

    def summary(self) -> Iterator[str]:
        """The lines of Kaldi's compute-wer, one rate for each unit; then that of the best of N hypotheses."""
        for unit in self.units:
            yield rate_line(RATE_NAMES[unit], self.counts(unit))
        rate = 100.0 * self.wrong / self.sentences if self.sentences else 0.0
        yield f"%SER {rate:.2f} [ {self.wrong} / {self.sentences} ]"
        yield f"Scored {self.sentences} sentences, {self.missing} not present in hyp."
        name = RATE_NAMES[self.units[0]]
        rates = list(self.oracle.rates()) if self.oracle.largest > 1 else []
        for n, counts in rates if self.why else rates[-1:]:
            yield f"{rate_line(name, counts)} best of {n}"

    def lines(self) -> Iterator[str]:
        """The summary, then the groups, the causes, the commonest mistakes and the worst utterances, as asked for."""
        yield from self.summary()
        for group, totals in sorted(self.groups.items()):
            for unit in self.units:
                yield f"{rate_line(RATE_NAMES[unit], totals.get(unit, Counts()))} {group}"
        if self.why and self.causes.totals:
            yield ""
            yield from self.causes.lines()
        if self._mistakes:
            yield ""
            commonest = sorted(self._mistakes.items(), key=lambda m: (-m[1], str(m[0])))[: self.confusions]
            for (ref, hyp), times in commonest:
                yield f"{times:5d}  {shown(ref)} -> {shown(hyp)}"
        for _, _, name, ref, hyp, errors in sorted(self._worst, key=lambda w: w[:2], reverse=True):
            yield ""
            yield from utterance_lines(name, self._align(ref, hyp), errors if self.why else None)

    def _align(self, ref: str, hyp: str) -> list[EditStep]:
        split = UNITS[self.units[0]]
        return align(split(ref), split(hyp))
