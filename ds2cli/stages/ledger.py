"""What became of all utterances of an experiment: in = kept + dropped + not selected, in each stage and over all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ds2cli.errors import DataError
from ds2cli.stages.lineage import Output

ROLES = ("IN", "TRAIN", "--dev", "mix.manifests")
"""Inputs whose utterances a stage counts; `IN 2` is one, too."""

NOT_COMPARED = frozenset(["prepare", "segment", "rover", "data split"])
"""Stages that read no utterances, or make another number of them than they read."""

NO_UTTERANCES = frozenset(["lm", "lm mix", "tune"])
"""Stages that count something else, such as lines of text."""


@dataclass(frozen=True)
class Entry:
    """The utterances of one stage. expected: those that its inputs have, None if that is not known or not comparable.

    copies: utterances that the stage makes of each.
    """

    out: str
    stage: str
    kept: int
    dropped: Counter[str]
    not_selected: Counter[str]
    expected: int | None
    copies: int = 1

    @property
    def total(self) -> int:
        """The utterances that came in."""
        return self.kept + self.dropped.total() + self.not_selected.total()

    @property
    def reconciles(self) -> bool:
        """Whether as many came in as the stages before have kept."""
        return self.expected is None or self.expected == self.total


@dataclass(frozen=True)
class Balance:
    """All utterances on the way to one output, each counted as often as the stages before the last one copy it.

    The way begins at the last stage that makes another number of utterances than it reads, such as a segmentation.
    """

    out: str
    total: int
    kept: int
    dropped: Counter[str]
    not_selected: Counter[str]

    @property
    def reconciles(self) -> bool:
        """Whether none is unaccounted for."""
        return self.total == self.kept + self.dropped.total() + self.not_selected.total()


def make_entries(outputs: Iterable[Output]) -> list[Entry]:
    """An entry for each output that counts utterances; those before are the inputs of those after."""
    return [_make_entry(output) for output in outputs if _counts(output)]


def make_balance(target: Output) -> Balance:
    """The balance of all stages on the way to an output. DataError if it does not count utterances."""
    if not _counts(target):
        raise DataError(f"{target.path}: ds2 {target.stage} counts no utterances")
    times: Counter[int] = Counter()
    order: list[Output] = []
    _count_times(target, 1, times, order)
    total, dropped, not_selected = 0, Counter[str](), Counter[str]()
    for output in order:
        entry, count = _make_entry(output), times[id(output)]
        # the copies are made by the stage itself: what it drops is a copy
        dropped.update({reason: n * count for reason, n in entry.dropped.items()})
        not_selected.update({reason: n * count for reason, n in entry.not_selected.items()})
        if not _counted_sources(output):
            total += entry.total * count
    return Balance(target.path, total, int(target.record["kept"]), dropped, not_selected)


def find_targets(outputs: Sequence[Output]) -> Iterator[Output]:
    """The outputs that no other one was made from, and that count utterances."""
    used = {id(source) for output in outputs for source in _sources(output)}
    yield from (output for output in outputs if id(output) not in used and _counts(output))


def _counts(output: Output) -> bool:
    return isinstance(output.record.get("kept"), int) and output.stage not in NO_UTTERANCES


def _count_times(output: Output, times: int, counts: Counter[int], order: list[Output]) -> None:
    if not counts[id(output)]:
        order.append(output)
    counts[id(output)] += times
    for source in _counted_sources(output):
        _count_times(source, times * _copies(output), counts, order)


def _make_entry(output: Output) -> Entry:
    record, sources = output.record, _sources(output)
    counted = [int(source.record["kept"]) for source in sources if _counts(source)]
    comparable = counted and len(counted) == len(_inputs(output)) and output.stage not in NOT_COMPARED
    return Entry(
        output.path,
        output.stage,
        int(record["kept"]),
        _counter(record.get("reasons"), record.get("dropped")),
        _counter(record.get("not_selected"), 0),
        sum(counted) * _copies(output) if comparable else None,
        _copies(output),
    )


def _inputs(output: Output) -> list[Output | None]:
    return [source for role, _, source in output.inputs if role.partition(" ")[0] in ROLES]


def _sources(output: Output) -> list[Output]:
    return [source for source in _inputs(output) if source is not None]


def _counted_sources(output: Output) -> list[Output]:
    """The sources whose utterances the output has, or has dropped."""
    return [] if output.stage in NOT_COMPARED else [source for source in _sources(output) if _counts(source)]


def _copies(output: Output) -> int:
    speeds = output.record.get("settings", {}).get("speeds") if output.stage == "featurize" else None
    return len(set(str(speeds).replace(",", " ").split())) if speeds else 1


def _counter(reasons: Any, total: Any) -> Counter[str]:
    if isinstance(reasons, dict):
        return Counter({str(name): n for name, n in reasons.items() if isinstance(n, int)})
    return Counter({"dropped": total} if isinstance(total, int) and total else {})
