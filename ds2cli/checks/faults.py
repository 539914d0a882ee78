"""The kinds of faults that `ds2 data validate` finds, and the tally of those found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Severity = Literal["fault", "warning"]
Finding = tuple[str, str]
"""The kind of a fault and a sentence on it."""

NOTHING: tuple[Finding, ...] = ()

FAULTS = {
    # rows
    "not-json": "the line is not a JSON object",
    "not-utf8": "bytes that are not UTF-8, or half a surrogate pair",
    "missing-field": "a field of --needs is missing",
    "wrong-type": "a field has a value of another type",
    "bad-id": "an id with spaces or control characters, or an empty one",
    "bad-duration": "a duration of 0 s or less",
    "bad-offset": "an offset below 0 s",
    "not-sorted": "an id that comes before that of an earlier row",
    "duplicate-id": "the id of an earlier row",
    "repeated-segment": "the recording and segment of an earlier row",
    # texts
    "empty-text": "a text without letters",
    "control-character": "a control character, such as CR, or a line separator",
    "invisible-character": "a character that cannot be seen, such as a byte order mark",
    "unicode-form": "a text that is not in Unicode form NFC",
    "text-form": "a text that is not in the form that ds2 prepare writes",
    "digits": "digits",
    "symbols": "signs that are read as words",
    "tags": "a tag such as [noise]",
    "language": "an unknown language",
    "not-speech": "a text of hesitations and tags alone",
    "unspellable": "a letter that the network does not have",
    # recordings
    "missing-audio": "no such recording",
    "unreadable-audio": "a recording that cannot be decoded",
    "truncated-audio": "a recording shorter than its header or its row states",
    "empty-file": "a recording of 0 bytes",
    "not-audio": "a file that is no recording",
    "no-samples": "a recording without samples",
    "not-a-number": "samples that are NaN or infinite",
    "wrong-duration": "a stated duration that is not that of the recording",
    "out-of-memory": "a recording that does not fit in memory",
    "bad-segment": "a segment that ends after its recording",
    "wrong-rate": "a stated sample rate that is not that of the recording",
    "no-such-channel": "a channel that the recording does not have",
    "duplicate-audio": "the samples of an earlier row",
    # features and emissions
    "missing-archive": "no such archive",
    "unreadable-archive": "an archive that cannot be read",
    "truncated-archive": "an archive that ends within the matrix",
    "not-a-matrix": "no matrix at the byte that the row names",
    "stale-archive": "the matrix of another row",
    "wrong-num-frames": "a stated number of frames or steps that is not that of the matrix",
    "other-bins": "another number of bins or symbols than in earlier rows",
    # several manifests
    "shared-id": "an id that another manifest has",
    "shared-audio": "a recording that another manifest has",
    # training
    "label-too-long": "more labels than CTC can align with the steps of the network",
    "too-short": "a recording shorter than one window of the features",
}
"""Kinds of faults, which end `ds2 data validate` with status 3, and what each of them is."""

WARNINGS = {
    "speaking-rate": "more characters per second than are spoken",
    "duplicate-text": "the text of an earlier row",
    "overlapping-segments": "a segment that begins before an earlier one of its recording ends",
    "silence": "a recording without sound",
    "clipping": "a recording with clipped samples",
    "dc-offset": "a recording whose mean is not 0",
    "label-too-long-at-speed": "labels that fit only at a lower speed than those of the training",
    "shared-speaker": "a speaker that another manifest has",
    "shared-text": "a text that another manifest has",
}
"""Kinds that may be intended; faults only with --strict."""

KINDS = {**FAULTS, **WARNINGS}


class Fault(NamedTuple):
    """A fault of one row. line: of the manifest, from 1.  id: "" if the row has none."""

    path: str
    line: int
    id: str
    kind: str
    detail: str

    def describe(self) -> str:
        """`path:line id: detail`."""
        return f"{self.path}:{self.line}{self.id and ' '}{self.id}: {self.detail}"


@dataclass
class Tally:
    """Counts the faults, and keeps the first ones of each kind.

    most: how many of each kind are kept.  strict: whether warnings count as faults.  ignored: kinds that are left out.
    write: called with each fault as a line of JSON, if given.
    """

    most: int = 20
    strict: bool = False
    ignored: Container[str] = ()
    write: Callable[[str], object] | None = None
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Fault]] = field(default_factory=dict)
    rows: int = 0
    _faulty: dict[str, bytearray] = field(default_factory=dict)

    def severity(self, kind: str) -> Severity:
        """Whether a kind is a fault or a warning."""
        return "warning" if kind in WARNINGS and not self.strict else "fault"

    def add(self, path: str, line: int, id: str, found: Iterable[Finding]) -> None:
        """Count what was found in a row."""
        for kind, detail in found:
            if kind in self.ignored:
                continue
            fault, severity = Fault(path, line, id, kind, detail), self.severity(kind)
            self.counts[kind] += 1
            if self.counts[kind] <= self.most:
                self.examples.setdefault(kind, []).append(fault)
            if severity == "fault":
                self._mark(path, line)
            if self.write:
                values = {**fault._asdict(), "severity": severity}
                self.write(json.dumps(values, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n")

    def _mark(self, path: str, line: int) -> None:
        marks = self._faulty.setdefault(path, bytearray())
        if line >= len(marks):
            # at least twice as long, so that marking all lines takes linear time
            marks.extend(bytes(line + 1))
        marks[line] = 1

    @property
    def faulty_rows(self) -> int:
        """Number of rows with faults."""
        return sum(sum(marks) for marks in self._faulty.values())

    def total(self, severity: Severity) -> int:
        """Number of faults, or of warnings."""
        return sum(count for kind, count in self.counts.items() if self.severity(kind) == severity)

    def by_kind(self) -> list[tuple[str, int]]:
        """The kinds found and their counts: faults first, each in the order of KINDS."""
        order = list(KINDS)
        known = [kind for kind in order if kind in self.counts]
        kinds = [*known, *sorted(self.counts.keys() - set(known))]
        kinds.sort(key=lambda kind: self.severity(kind) == "warning")
        return [(kind, self.counts[kind]) for kind in kinds]
