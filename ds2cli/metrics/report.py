"""The report of a scored set: Kaldi's summary lines, the worst utterances word by word, the most frequent errors."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ds2cli.metrics.causes import NOTHING, Causes, format_unit
from ds2cli.metrics.oracle import Oracle
from ds2cli.metrics.text_form import make_visible
from ds2cli.metrics.wer import UNITS, Counts, EditStep, align, count

RATE_NAMES = {"word": "WER", "char": "CER"}

Errors = Sequence[Mapping[str, Any]]
"""The field `errors` of a row: the errors of an utterance with their causes."""


def rate_line(name: str, counts: Counts) -> str:
    """Kaldi's `%WER 13.45 [ 2708 / 20138, 358 ins, 330 del, 2020 sub ]`."""
    edits = f"{counts.ins} ins, {counts.dels} del, {counts.subs} sub"
    return f"%{name} {counts.rate:.2f} [ {counts.errors} / {counts.total}, {edits} ]"


def utterance_lines(name: str, steps: Sequence[EditStep], errors: Errors | None = None) -> list[str]:
    """The alignment of an utterance in the four lines of Kaldi's per_utt: ref, hyp, op (C S I D) and their counts.

    errors: one for each step that is not a hit, in order; they add a fifth line with their causes.
    """
    ref = [NOTHING if r is None else make_visible(r, h or "") for r, h in steps]
    hyp = [NOTHING if h is None else make_visible(h, r or "") for r, h in steps]
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
    """Error counts of a set; `add` one utterance at a time, then read `lines`.

    units: "word", "char" or both; utterances are ranked and aligned by the first.
    worst: number of the worst utterances to keep.  confusions: number of the most frequent errors to show.
    why: whether to show the causes of errors, and the oracle error rate for several N.
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
    _confusions: Counter[EditStep] = field(default_factory=Counter)
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
        """Score one utterance and return its counts in the first unit; None as the hypothesis deletes all of it.

        nbest: hypotheses for the oracle error rate, by default `hyp` alone.  errors: with their causes.
        """
        self.sentences += 1
        self.missing += hyp is None
        hyp = hyp or ""
        counted = {unit: count(UNITS[unit](ref), UNITS[unit](hyp)) for unit in self.units}
        for unit, counts in counted.items():
            self.totals[unit] = self.totals.get(unit, Counts()) + counts
            if group is not None:
                totals = self.groups.setdefault(group, {})
                totals[unit] = totals.get(unit, Counts()) + counts
        first = counted[self.units[0]]
        split = UNITS[self.units[0]]
        self.oracle.add([count(split(ref), split(text)) for text in nbest] if nbest else [first])
        self.causes.add(errors or [])
        self.wrong += first.errors > 0
        if self.confusions and first.errors:
            self._confusions.update(step for step in self._align(ref, hyp) if step[0] != step[1])
        if self.worst and first.errors:
            # the negative count keeps the earlier of two equals, and entries are never compared by their text
            heapq.heappush(self._worst, (first.errors, -self.sentences, name, ref, hyp, errors))
            if len(self._worst) > self.worst:
                heapq.heappop(self._worst)
        return first

    def counts(self, unit: str) -> Counts:
        """The counts of the set in `unit`."""
        return self.totals.get(unit, Counts())

    def summary(self) -> Iterator[str]:
        """Yield the lines of Kaldi's compute-wer, one rate per unit, then the oracle error rate."""
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
        """Yield the summary, then the configured parts: groups, causes, most frequent errors, worst utterances."""
        yield from self.summary()
        for group, totals in sorted(self.groups.items()):
            for unit in self.units:
                yield f"{rate_line(RATE_NAMES[unit], totals.get(unit, Counts()))} {group}"
        if self.why and self.causes.totals:
            yield ""
            yield from self.causes.lines()
        if self._confusions:
            yield ""
            frequent = sorted(self._confusions.items(), key=lambda m: (-m[1], str(m[0])))[: self.confusions]
            for (ref, hyp), times in frequent:
                shown = ref and make_visible(ref, hyp or ""), hyp and make_visible(hyp, ref or "")
                yield f"{times:5d}  {format_unit(shown[0])} -> {format_unit(shown[1])}"
        for _, _, name, ref, hyp, errors in sorted(self._worst, key=lambda w: w[:2], reverse=True):
            yield ""
            yield from utterance_lines(name, self._align(ref, hyp), errors if self.why else None)

    def _align(self, ref: str, hyp: str) -> list[EditStep]:
        split = UNITS[self.units[0]]
        return align(split(ref), split(hyp))
