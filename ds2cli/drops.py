"""The ledger of a run: how many utterances were kept, and which were dropped and why. in = kept + dropped, always."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar, cast, overload

from ds2cli.errors import BadUtterance, DataError, Ds2Error

T = TypeVar("T")


MOST_IN_MEMORY = 50_000
"""Dropped rows that are held in memory; further ones are in a temporary file."""


class DroppedRows(MutableSequence[dict[str, Any]]):
    """The rows of dropped utterances, a list of any length in little memory. A changed row has to be assigned."""

    def __init__(self, rows: Iterable[dict[str, Any]] = ()) -> None:
        self._first: list[dict[str, Any]] = []
        self._ends = array("Q")
        self._file: BinaryIO | None = None
        self.extend(rows)

    def __len__(self) -> int:
        return len(self._first) + len(self._ends)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self._first[number] if number < len(self._first) else self._read(number - len(self._first))

    def __setitem__(self, index: Any, value: Any) -> None:
        rows = [*self]
        rows[index] = value
        self._replace(rows)

    def __delitem__(self, index: Any) -> None:
        rows = [*self]
        del rows[index]
        self._replace(rows)

    def insert(self, index: int, value: dict[str, Any]) -> None:
        """Insert a row; quick at the end."""
        if index < len(self):
            self._replace([*self[:index], value, *self[index:]])
        elif len(self._first) < MOST_IN_MEMORY and not self._ends:
            self._first.append(value)
        else:
            self._write(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, DroppedRows)) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr([*self])

    def _replace(self, rows: list[dict[str, Any]]) -> None:
        self._close()
        self._first, self._ends, self._file = [], array("Q"), None
        self.extend(rows)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    __del__ = _close

    def _write(self, row: dict[str, Any]) -> None:
        if self._file is None:
            # without a name, so that nothing is left of a killed process
            self._file = cast(BinaryIO, tempfile.TemporaryFile(prefix="ds2-drops-"))  # noqa: SIM115
        data = json.dumps(row).encode()
        self._file.write(data)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(data))

    def _read(self, number: int) -> dict[str, Any]:
        assert self._file is not None
        self._file.flush()
        begin = self._ends[number - 1] if number else 0
        row: dict[str, Any] = json.loads(os.pread(self._file.fileno(), self._ends[number] - begin, begin))
        return row


@dataclass
class Ledger:
    """Counts of kept and dropped utterances.

    rows: one per dropped utterance, as in OUT.dropped.jsonl.
    unselected: how many rows an option such as `--first 10` did not ask for, by the reason; they are not dropped.
    notes: what the user should know about the result, a sentence each.
    needs_rows: whether a result without any is refused.
    source: what the rows are read from, for that message.
    """

    kept: int = 0
    rows: DroppedRows = field(default_factory=lambda: DroppedRows())
    reasons: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    unselected: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    needs_rows: bool = False
    source: str = ""
    _before: dict[int, tuple[bool, str, int]] = field(default_factory=dict, repr=False, compare=False)
    """Of rows dropped while the input was read, by their index: where they belong in the order of the input."""

    def drop(self, utterance: str, reason: str, detail: str = "", *, bad: bool = True) -> None:
        """Record a dropped utterance. bad: False for one that an option or a rule excludes; --max-bad ignores those."""
        self.rows.append({"id": utterance, "reason": reason, "detail": detail, "bad": bad})
        self.reasons[reason] += 1
        self.bad += bad

    def drop_error(self, utterance: str, error: BadUtterance, *, bad: bool = True) -> None:
        """Record an utterance dropped because of this error."""
        self.drop(utterance, error.reason, error.detail, bad=bad)

    def count_kept(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Pass rows through and count them as kept."""
        for row in rows:
            self.kept += 1
            yield row

    def follow(self, items: Iterable[T], find_id: Callable[[T], str]) -> Iterator[T]:
        """Pass on the input of a stage, sorted by id; what is dropped while it is read comes before the next item."""
        start, source = len(self.rows), iter(items)
        for item in source:
            self._note(start, (False, find_id(item), 0))
            yield item
            start = len(self.rows)
        self._note(start, (True, "", 0))

    def stage_drops(self, start: int) -> list[dict[str, Any]]:
        """The dropped rows from this index on, except those that were dropped while the input was read."""
        return [row for i, row in enumerate(self.rows[start:], start) if i not in self._before]

    def sort(self) -> None:
        """Sort the dropped rows as the input that was passed on: a stage may read ahead of what it processes."""
        order = sorted(range(len(self.rows)), key=lambda i: self._before.get(i, (False, self.rows[i]["id"], 1)))
        self.rows[:] = [self.rows[i] for i in order]
        self._before.clear()

    def _note(self, start: int, place: tuple[bool, str, int]) -> None:
        self._before.update(dict.fromkeys(range(start, len(self.rows)), place))

    @property
    def dropped(self) -> int:
        """Number of dropped utterances, bad or excluded."""
        return len(self.rows)

    @property
    def bad_percent(self) -> float:
        """Percentage of bad utterances among those kept or bad."""
        return _percent(self.bad, self.kept + self.bad)

    def enforce_max_bad(self, name: str, max_bad: float, kept: int | None = None) -> None:
        """Ds2Error (exit status 1) if more than `max_bad` percent of the utterances are bad, or if none was kept.

        DataError (exit status 3) if there were none. Both apply only if `needs_rows`.
        name: the name of the stage, for the message.
        kept: utterances that the stage has finished, if some are not counted yet [default: self.kept].
        """
        kept = self.kept if kept is None else kept
        percent = _percent(self.bad, kept + self.bad)
        if percent > max_bad:
            raise Ds2Error(
                f"{name}: refused: {self.bad} of {kept + self.bad} utterances are bad "
                f"({percent:.1f} %, allowed {max_bad:g} %; --max-bad raises the limit)"
            )
        if self.needs_rows and not kept:
            self._refuse_empty(name)

    def _refuse_empty(self, name: str) -> None:
        reasons = self.reasons + self.unselected
        if not reasons:
            raise no_utterances(self.source or name)
        most_frequent = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common(3))
        raise Ds2Error(f"{name}: refused: none of {reasons.total()} utterances is kept ({most_frequent})")

    def summary(self) -> str:
        """`12 in = 10 kept + 2 dropped (1 no-text, 1 truncated-audio)`, and `+ 3 not selected (3 duration)` if any."""
        unselected = self.unselected.total()
        text = f"{self.kept + self.dropped + unselected} in = {self.kept} kept + {self.dropped} dropped"
        text += _list_reasons(self.reasons)
        return f"{text} + {unselected} not selected{_list_reasons(self.unselected)}" if unselected else text

    def format_lines(self) -> Iterator[str]:
        """The lines of `<OUT>.dropped.jsonl`."""
        for row in self.rows:
            yield json.dumps(row, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"


def no_utterances(source: str) -> DataError:
    """The error of an input without any utterance."""
    return DataError(f"{source}: no utterances, expected at least one (did the previous command fail?)")


def _list_reasons(reasons: Counter[str]) -> str:
    return f" ({', '.join(f'{n} {reason}' for reason, n in sorted(reasons.items()))})" if reasons else ""


def _percent(part: int, total: int) -> float:
    return 100.0 * part / total if total else 0.0
