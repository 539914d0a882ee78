"""The report of a scored set: Kaldi's summary lines, the worst utterances word by word, the most frequent errors."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from ds2cli.kernels.edit import HIT, LETTERS
from ds2cli.metrics.aligner import RATE_NAMES, Aligner
from ds2cli.metrics.alignment import Alignments
from ds2cli.metrics.causes import NOTHING, Causes, format_unit
from ds2cli.metrics.interval import RateInterval
from ds2cli.metrics.oracle import Oracle
from ds2cli.metrics.text_form import make_visible
from ds2cli.metrics.wer import Counts, EditStep

Errors = Sequence[Mapping[str, Any]]
"""The field `errors` of a row: the errors of an utterance with their causes."""

PAIRS = 4096
"""Hypotheses of n-best lists that are aligned at once."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance to score.

    hyp: None if there is none; all of the reference is then deleted.  group: for a rate per group.
    nbest: hypotheses for the oracle error rate, by default `hyp` alone.  errors: with their causes.
    """

    name: str
    ref: str
    hyp: str | None
    group: str | None = None
    nbest: Sequence[str] = ()
    errors: Errors | None = None


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
    rows["#csid"] = " ".join(str(op.count(letter)) for letter in LETTERS)
    return [f"{name} {kind:<5} {row}".rstrip() for kind, row in rows.items()]


def _count_fields(counts: Counts) -> dict[str, Any]:
    # the rate of an empty reference is infinite
    rate = counts.rate if counts.total else None
    return {"rate": rate, "errors": counts.errors, "total": counts.total, **asdict(counts)}


@dataclass
class Report:
    """Error counts of a set; `add_all` utterances, then read `lines`.

    units: such as "word" and "char"; utterances are ranked and aligned by the first.
    worst: number of the worst utterances to keep.  confusions: number of the most frequent errors to show.
    context: units to show on both sides of an example of these.
    why: whether to show the causes of errors, and the oracle error rate for several N.
    counted: how texts were made comparable, for the report: `normalizer none`.
    group_key: orders the groups.
    """

    units: Sequence[str] = ("word", "char")
    worst: int = 0
    confusions: int = 0
    context: int = 0
    why: bool = False
    aligner: Aligner = field(default_factory=Aligner)
    counted: str = "normalizer none"
    group_key: Callable[[str], Any] = str
    totals: dict[str, Counts] = field(default_factory=dict)
    groups: dict[str, dict[str, Counts]] = field(default_factory=dict)
    sentences: int = 0
    wrong: int = 0
    missing: int = 0
    causes: Causes = field(default_factory=Causes)
    oracle: Oracle = field(default_factory=Oracle)
    intervals: dict[str, RateInterval] = field(default_factory=dict)
    _confusions: Counter[EditStep] = field(default_factory=Counter)
    _examples: dict[EditStep, str] = field(default_factory=dict)
    _worst: list[tuple[int, int, Utterance]] = field(default_factory=list)

    def add_all(self, utterances: Sequence[Utterance]) -> dict[str, Alignments]:
        """Score utterances; their alignments in each unit."""
        refs, hyps = [u.ref for u in utterances], [u.hyp or "" for u in utterances]
        aligned = {unit: self.aligner.align(unit, refs, hyps) for unit in self.units}
        for unit, alignments in aligned.items():
            self.totals[unit] = self.counts(unit) + alignments.total()
            self.intervals.setdefault(unit, RateInterval()).add(alignments.counts)
            self._add_groups(unit, utterances, alignments)
        first = aligned[self.units[0]]
        errors = first.counts[:, 1:].sum(axis=1)
        self.missing += sum(u.hyp is None for u in utterances)
        self.wrong += int(np.count_nonzero(errors))
        self._add_oracle(utterances, first)
        if self.why:
            for utterance in utterances:
                self.causes.add(utterance.errors or [])
        if self.confusions:
            self._add_confusions(first)
        if self.worst:
            for k in np.argsort(-errors, kind="stable")[: self.worst]:
                if errors[k]:
                    # the negative place keeps the earlier of two equals, and utterances are never compared
                    heapq.heappush(self._worst, (int(errors[k]), -self.sentences - int(k), utterances[k]))
            while len(self._worst) > self.worst:
                heapq.heappop(self._worst)
        self.sentences += len(utterances)
        return aligned

    def counts(self, unit: str) -> Counts:
        """The counts of the set in `unit`."""
        return self.totals.get(unit, Counts())

    def summary(self) -> Iterator[str]:
        """Yield the lines of Kaldi's compute-wer, a rate per unit, then the oracle error rate, and how it was made."""
        for unit in self.units:
            yield rate_line(RATE_NAMES[unit], self.counts(unit))
        rate = 100.0 * self.wrong / self.sentences if self.sentences else 0.0
        yield f"%SER {rate:.2f} [ {self.wrong} / {self.sentences} ]"
        yield f"Scored {self.sentences} sentences, {self.missing} not present in hyp."
        name = RATE_NAMES[self.units[0]]
        rates = list(self.oracle.rates()) if self.oracle.largest > 1 else []
        for n, counts in rates if self.why else rates[-1:]:
            yield f"{rate_line(name, counts)} best of {n}"
        yield f"Counted with {self.aligner.describe(self.units)}, {self.counted}.{self._describe_interval()}"

    def lines(self) -> Iterator[str]:
        """Yield the summary, then the configured parts: groups, causes, most frequent errors, worst utterances."""
        yield from self.summary()
        for group in sorted(self.groups, key=self.group_key):
            for unit in self.units:
                yield f"{rate_line(RATE_NAMES[unit], self.groups[group][unit])} {group}"
        if self.why and self.causes.totals:
            yield ""
            yield from self.causes.lines()
        if self._confusions:
            yield ""
            for (ref, hyp), times in self.frequent_errors():
                shown = ref and make_visible(ref, hyp or ""), hyp and make_visible(hyp, ref or "")
                example = self._examples.get((ref, hyp))
                yield f"{times:5d}  {format_unit(shown[0])} -> {format_unit(shown[1])}" + (
                    f"   in: {example}" if example is not None else ""
                )
        for _, _, u in sorted(self._worst, key=lambda w: w[:2], reverse=True):
            yield ""
            steps = self.aligner.edit_steps(self.units[0], u.ref, u.hyp or "")
            yield from utterance_lines(u.name, steps, u.errors if self.why else None)

    def as_fields(self) -> dict[str, Any]:
        """Everything that `lines` shows, and the intervals of all units, as values for JSON."""
        fields: dict[str, Any] = {"rates": {unit: self._rate_fields(unit) for unit in self.units}}
        fields["sentences"] = {"scored": self.sentences, "wrong": self.wrong, "missing": self.missing}
        if self.oracle.largest > 1:
            fields["oracle"] = {str(n): _count_fields(counts) for n, counts in self.oracle.rates()}
        if self.groups:
            fields["groups"] = {
                group: {unit: _count_fields(counts) for unit, counts in self.groups[group].items()}
                for group in sorted(self.groups, key=self.group_key)
            }
        if self.confusions:
            fields["confusions"] = [
                {"ref": ref, "hyp": hyp, "count": n}
                | ({"example": self._examples[ref, hyp]} if (ref, hyp) in self._examples else {})
                for (ref, hyp), n in self.frequent_errors()
            ]
        if self.why:
            fields["causes"] = dict(self.causes.totals)
        return fields

    def _rate_fields(self, unit: str) -> dict[str, Any]:
        fields = {"name": RATE_NAMES[unit], **_count_fields(self.counts(unit))}
        width = self.intervals[unit].half_width if unit in self.intervals else None
        if width is not None:
            rate = self.counts(unit).rate
            fields["interval_95"] = [max(0.0, rate - width), rate + width]
        return fields

    def frequent_errors(self) -> list[tuple[EditStep, int]]:
        """The most frequent errors and how often each occurs."""
        return sorted(self._confusions.items(), key=lambda m: (-m[1], str(m[0])))[: self.confusions]

    def _describe_interval(self) -> str:
        unit = self.units[0]
        width = self.intervals[unit].half_width if unit in self.intervals else None
        if width is None:
            return ""
        rate = self.counts(unit).rate
        span = f"{max(0.0, rate - width):.2f} to {rate + width:.2f}"
        return f" 95 % confidence interval of the {RATE_NAMES[unit]}: {span}."

    def _add_groups(self, unit: str, utterances: Sequence[Utterance], alignments: Alignments) -> None:
        members: dict[str, list[int]] = {}
        for k, utterance in enumerate(utterances):
            if utterance.group is not None:
                members.setdefault(utterance.group, []).append(k)
        for group, places in members.items():
            totals = self.groups.setdefault(group, dict.fromkeys(self.units, Counts()))
            totals[unit] += Counts(*alignments.counts[places].sum(axis=0).tolist())

    def _add_oracle(self, utterances: Sequence[Utterance], first: Alignments) -> None:
        with_list = [k for k, u in enumerate(utterances) if u.nbest]
        if not with_list:
            self.oracle.add_single(first.total(), len(utterances))
            return
        pairs = ((utterances[k].ref, text) for k in with_list for text in utterances[k].nbest)
        lists = self._count_pairs(pairs)
        for k, utterance in enumerate(utterances):
            hyps = [Counts(*next(lists)) for _ in utterance.nbest] or [first.pair_counts(k)]
            self.oracle.add(hyps)

    def _count_pairs(self, pairs: Iterable[tuple[str, str]]) -> Iterator[list[int]]:
        """The counts of many pairs of texts, aligned in parts: lists of a thousand hypotheses need not fit at once."""
        source = iter(pairs)
        while part := list(islice(source, PAIRS)):
            refs, hyps = zip(*part, strict=True)
            yield from self.aligner.align(self.units[0], refs, hyps).counts.tolist()

    def _add_confusions(self, alignments: Alignments) -> None:
        wrong = np.flatnonzero(alignments.steps != HIT)
        # one number for each pair of ids, of which -1 is nothing
        size = len(alignments.names) + 1
        pairs = (alignments.ref_ids[wrong].astype(np.int64) + 1) * size + alignments.hyp_ids[wrong] + 1
        found, first, times = np.unique(pairs, return_index=True, return_counts=True)
        for pair, place, number in zip(found.tolist(), first.tolist(), times.tolist(), strict=True):
            ref, hyp = divmod(pair, size)
            step = (alignments.names[ref - 1] if ref else None, alignments.names[hyp - 1] if hyp else None)
            self._confusions[step] += number
            if self.context and step not in self._examples:
                self._examples[step] = self._show_context(alignments, int(wrong[place]))

    def _show_context(self, alignments: Alignments, place: int) -> str:
        """The reference around a step, with the error in brackets."""
        pair = int(np.searchsorted(alignments.ends, place, side="right"))
        here = place - alignments.slice(pair).start
        steps = alignments.edit_steps(pair)
        between = " " if self.units[0] != "char" else ""
        before = [r for r, _ in steps[:here] if r is not None][-self.context :]
        after = [r for r, _ in steps[here + 1 :] if r is not None][: self.context]
        ref, hyp = steps[here]
        error = f"[{NOTHING if ref is None else ref} -> {NOTHING if hyp is None else hyp}]"
        return make_visible(between.join([*before, error, *after]), "")
