"""Compare K systems on the same references: their rates, whether they differ, and how small a difference would show.

Add utterances in chunks; only integers are kept: the errors and words of each utterance, or of each group where groups
are resampled, and sums for the tests. Notation: K systems, P utterances of a chunk, N utterances or groups, R draws.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.metrics import significance
from ds2cli.metrics.aligner import Aligner
from ds2cli.metrics.bootstrap import draw_totals, interval, share_better
from ds2cli.metrics.comparison_pair import LEVEL, MIN_DRAWN, MIN_SEGMENTS, POWER_FACTOR, PairResult, PairSums, Verdict
from ds2cli.metrics.significance import TestResult
from ds2cli.metrics.wer import Counts


@dataclass
class Comparison:
    """Counts of K >= 2 systems; `add` chunks, then read `pairs`, `lines` or `as_fields`.

    names: of the systems.  unit: see `Aligner.align`.  resample: "id" to draw utterances, else the name of the groups
    that are drawn.  group_field: what the groups of `add` are.  counted: how texts were made comparable, for `lines`.
    """

    names: Sequence[str]
    unit: str = "word"
    aligner: Aligner = field(default_factory=Aligner)
    resample: str = "id"
    group_field: str = "speaker"
    counted: str = "normalizer none"
    draws: int = 10_000
    seed: int = 0
    utterances: int = 0
    totals: NDArray[np.int64] = field(init=False)
    wrong: NDArray[np.int64] = field(init=False)
    _sums: dict[tuple[int, int], PairSums] = field(init=False)
    _utterances: list[NDArray[np.int32]] = field(default_factory=list)
    _groups: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.names)
        self.totals, self.wrong = np.zeros((count, 4), np.int64), np.zeros(count, np.int64)
        self._sums = {pair: PairSums() for pair in combinations(range(count), 2)}

    def add(self, refs: Sequence[str], hyps: Sequence[Sequence[str]], groups: Sequence[str | None]) -> None:
        """Add P utterances.

        refs: P texts.  hyps: those of each of the K systems.  groups: of the utterances, such as their speakers; None
        where there is none, which leaves the utterance out of the tests of groups.
        """
        aligned = [self.aligner.align(self.unit, refs, texts) for texts in hyps]
        slots = [significance.find_slots(alignments) for alignments in aligned]
        counts = np.stack([alignments.counts for alignments in aligned])
        errors = np.ascontiguousarray(counts[:, :, 1:].sum(axis=2).T)
        words = counts[0][:, [0, 1, 3]].sum(axis=1)
        for (a, b), sums in self._sums.items():
            segments = significance.segment_errors(slots[a], slots[b])
            sums.add(segments[:, :2], errors[:, [a, b]])
        self.utterances += len(refs)
        self.totals += counts.sum(axis=1)
        self.wrong += (errors > 0).sum(axis=0)
        table = np.column_stack([errors, words])
        if self.resample == "id":
            self._utterances.append(table.astype(np.int32))
        for group, row in zip(groups, table.tolist(), strict=True):
            if group is not None:
                total = self._groups.setdefault(group, [0] * len(row))
                total[:] = map(int.__add__, total, row)
        for cached in ("pairs", "_drawn", "_table"):
            self.__dict__.pop(cached, None)

    def counts(self, system: int) -> Counts:
        """The counts of a system."""
        hits, subs, ins, dels = (int(n) for n in self.totals[system])
        return Counts(hits, subs, ins, dels)

    @property
    def words(self) -> int:
        """Units of all references."""
        return self.counts(0).total

    @cached_property
    def _table(self) -> NDArray[np.int64]:
        """(N, K + 1): errors of each system and words of what is drawn."""
        if self.resample != "id":
            return np.array([*self._groups.values()], np.int64).reshape(-1, len(self.names) + 1)
        return np.concatenate([*self._utterances, np.zeros((0, len(self.names) + 1), np.int32)]).astype(np.int64)

    @cached_property
    def _drawn(self) -> NDArray[np.float64]:
        """(R, K): the rates of each draw, percent."""
        totals = draw_totals(self._table, self.seed, self.draws, self.aligner.threads)
        return 100.0 * totals[:, :-1] / np.maximum(totals[:, -1:], 1)

    def interval(self, system: int) -> tuple[float, float]:
        """The 95 % interval of the rate of a system, percent."""
        return interval(self._drawn[:, system])

    @cached_property
    def pairs(self) -> list[PairResult]:
        """All pairs of systems: first those with the first system."""
        results = [self._compare(*pair) for pair in self._sums]
        corrected = _correct([result.p_corrected for result in results])
        drawn = _correct([result.p_bootstrap for result in results])
        return [
            replace(result, p_corrected=p, verdict=self._judge(result, p < LEVEL, q < LEVEL))
            for result, p, q in zip(results, corrected, drawn, strict=True)
        ]

    def _judge(self, pair: PairResult, *found: bool) -> Verdict:
        """The verdict from what the test that decides and the bootstrap find."""
        if not pair.sums.segments.squares:
            return "same"
        if self.num_drawn < MIN_DRAWN:
            return "too-few"
        if not any(found):
            return "none"
        return "real" if all(found) and pair.difference else "uncertain"

    def _compare(self, first: int, second: int) -> PairResult:
        sums = self._sums[first, second]
        mapsswe = significance.matched_pairs(sums.segments)
        is_small = mapsswe.cases < MIN_SEGMENTS
        p_exact = significance.randomization_p(sums.sizes, sums.segments.total) if is_small else None
        a, b = self._drawn[:, first], self._drawn[:, second]
        error = self._standard_error(first, second)
        smallest = POWER_FACTOR * error if error else None
        group_signs = ranks = None
        if self._groups:
            rates = [[_percent(total[k], total[-1]) for total in self._groups.values()] for k in (first, second)]
            group_signs, ranks = significance.sign_test(*rates), significance.wilcoxon_test(*rates)
        share = share_better(b, a)
        p_bootstrap = max(2 * min(share, 1 - share), 1 / self.draws)
        p = mapsswe.p if p_exact is None else p_exact
        return PairResult(
            first,
            second,
            sums,
            difference=_percent(self.counts(second).errors - self.counts(first).errors, self.words),
            interval=interval(b - a),
            share_better=share,
            p_bootstrap=p_bootstrap,
            mapsswe=mapsswe,
            p_exact=p_exact,
            p_corrected=p if self.resample == "id" else p_bootstrap,
            mcnemar=significance.mcnemar(sums.only_first, sums.only_second),
            signs=significance.mcnemar(sums.better, sums.worse),
            group_signs=group_signs,
            ranks=ranks,
            smallest=smallest,
            words_per_point=None if smallest is None else math.ceil(self.words * smallest**2),
        )

    def _standard_error(self, first: int, second: int) -> float:
        """That of the difference of the rates, in points: of independent segments, or of the groups that are drawn."""
        if not self.words:
            return 0.0
        if self.resample == "id":
            segments = self._sums[first, second].segments
            return 100 * math.sqrt(segments.cases * segments.variance) / self.words
        differences, words = self._table[:, second] - self._table[:, first], self._table[:, -1]
        residuals = differences - differences.sum() / self.words * words
        number = len(words)
        return 100 * math.sqrt(float(residuals @ residuals) * number / max(1, number - 1)) / self.words

    @property
    def num_drawn(self) -> int:
        """How many utterances or groups are drawn."""
        return len(self._table)

    def as_fields(self) -> dict[str, Any]:
        """For JSON: the systems, and all pairs with every result."""
        systems = [
            {
                "name": name,
                **asdict(self.counts(k)),
                "rate": _percent(self.counts(k).errors, self.words),
                "interval_95": list(self.interval(k)),
                "wrong_utterances": int(self.wrong[k]),
            }
            for k, name in enumerate(self.names)
        ]
        pairs = [self._pair_fields(pair) for pair in self.pairs]
        how = {"resample": self.resample, "resampled": self.num_drawn, "draws": self.draws, "seed": self.seed}
        what = {"unit": self.unit, "alignment": self.aligner.rule, "group_field": self.group_field}
        sizes = {"utterances": self.utterances, "words": self.words, "groups": len(self._groups)}
        return {**what, **how, **sizes, "systems": systems, "pairs": pairs}

    def _pair_fields(self, pair: PairResult) -> dict[str, Any]:
        fields = {f.name: getattr(pair, f.name) for f in dataclasses.fields(pair) if f.name != "sums"}
        tests = {name: asdict(value) for name, value in fields.items() if isinstance(value, TestResult)}
        sums = pair.sums
        counts = {"better": sums.better, "worse": sums.worse, "ties": self.utterances - sums.better - sums.worse}
        only = {"only_first": sums.only_first, "only_second": sums.only_second}
        names = {"first": self.names[pair.first], "second": self.names[pair.second]}
        return {**fields, **tests, **names, "interval_95": list(pair.interval), **counts, **only}

    def lines(self) -> Iterator[str]:
        """Yield the comparison for people."""
        from ds2cli.metrics.comparison_lines import comparison_lines

        return comparison_lines(self)


def _percent(part: int, whole: int) -> float:
    """As sc_stats computes it; 0 if there is nothing."""
    return part / whole * 100.0 if whole else 0.0


def _correct(values: Sequence[float]) -> list[float]:
    """Holm's correction of several p."""
    corrected, largest = [0.0] * len(values), 0.0
    for rank, k in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, values[k] * (len(values) - rank)))
        corrected[k] = largest
    return corrected
