"""Repair rows: malformed fields, ids, texts, and what they state of their recordings; drop what cannot be used."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Literal

from ds2cli import manifest
from ds2cli.config.data import FixConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import FIELDS, Row
from ds2cli.parallel import map_ordered
from ds2cli.text.normalize import NOT_SPEECH, TextRules

_NOT_IN_IDS = re.compile(r"[\s\x00-\x1f\x7f]+")

ROUNDING_S = 0.001
"""Stated durations that differ by no more than this (s) from that of the recording are rounded, and stay."""


@dataclass
class Repairs:
    """Repairs rows, and counts what was repaired.

    measures: whether durations are measured, so that a malformed one may be removed.
    """

    measures: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """`3 rows: offset below 0 set to 0`, for each kind of repair."""
        return [f"{count} {'rows' if count > 1 else 'row'}: {what}" for what, count in sorted(self.counts.items())]

    def repair_fields(self, row: dict[str, Any]) -> Row:
        """A row of which some field is malformed, with those repaired that can be.

        Numbers in quotes become numbers and the reverse, spaces in ids `_`, an offset below 0 becomes 0. An id that is
        empty is removed; another can be made.
        """
        repaired = dict(row)
        for name, value in row.items():
            known = FIELDS.get(name)
            if known is None or value is None or known[0](value):
                continue
            if name == "duration" and not self.measures and not isinstance(value, str):
                continue
            what, new = _repair_value(name, value)
            if what and new is None:
                del repaired[name]
            elif what and known[0](new):
                repaired[name] = new
            else:
                continue
            self.counts[what] += 1
        return repaired

    def repair_text(self, row: Row, rules: TextRules) -> tuple[Row, list[str]]:
        """The row with a normalized text, and what was done; BadUtterance for a text that has no such form."""
        text = row["text"]
        # a tab or a line break separates words, other control characters stand for nothing
        readable = text if text.isprintable() else "".join(c for c in text if c.isspace() or not _is_control(c))
        clean = rules.normalize(readable, row.get("lang"))
        if text.strip() and not clean:
            raise BadUtterance("no-text", f"the text {text[:40]!r} has no letters")
        if clean == text:
            return row, []
        return {**row, "text": clean}, [
            "control characters removed from the text" if readable != text else "text normalized"
        ]


def fix(
    rows: Iterable[Row], ledger: Ledger, config: FixConfig | None = None, repairs: Repairs | None = None
) -> Iterator[Row]:
    """Normalize the texts, correct what rows state of their recordings, drop rows that cannot be used.

    The kinds of repairs are noted in the ledger after the last row.
    """
    config = config or FixConfig()
    repairs = repairs or Repairs()
    rules = TextRules.of(config)

    def with_texts() -> Iterator[tuple[Row, list[str]]]:
        for row in rows:
            try:
                if row.get("duration") == 0 and config.audio == "exists":
                    raise BadUtterance("bad-duration", "the duration is 0 s (--audio header measures it)")
                yield repairs.repair_text(row, rules) if "text" in row else (row, [])
            except BadUtterance as e:
                ledger.drop_error(row["id"], e, bad=e.reason != NOT_SPEECH)

    nj = 1 if config.audio == "exists" else config.nj
    for result in map_ordered(partial(FileRepairs, config.audio), with_texts(), nj, lambda _: None):
        row, done, error = result
        if error is not None:
            ledger.drop(row["id"], *error)
        else:
            repairs.counts.update(done)
            yield row
    ledger.notes.extend(repairs.notes())


@dataclass(frozen=True)
class FileRepairs:
    """Corrects rows by their files, as the work of a process. depth: as of `FixConfig.audio`."""

    depth: Literal["exists", "header", "decode"]
    number: int = 1

    def __enter__(self) -> FileRepairs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __call__(self, item: tuple[Row, list[str]]) -> tuple[Row, list[str], tuple[str, str] | None]:
        """The row, what was repaired, and the reason and the detail if it has to be dropped.

        item: the row and what was repaired before.
        """
        row, before = item
        try:
            check_files(row)
            if self.depth == "exists":
                return row, before, None
            row, done = repair_recording(row, decode=self.depth == "decode")
            return *repair_counts(row, [*before, *done]), None
        except BadUtterance as e:
            return row, [], (e.reason, e.detail)

    def result(self) -> None:
        """Nothing more than the results of the rows."""


def check_files(row: Row) -> None:
    """BadUtterance if a file that the row names is not there."""
    for name in manifest.PATH_FIELDS:
        if name not in row:
            continue
        file = row[name] if name == "audio_filepath" else row[name].rpartition(":")[0]
        if not os.path.isfile(file):
            kind = "missing-audio" if name == "audio_filepath" else "missing-archive"
            raise BadUtterance(kind, f"{name}: no file {file}")


def repair_recording(row: Row, *, decode: bool) -> tuple[Row, list[str]]:
    """The row with the duration and the sample rate of its recording, and what was changed.

    A segment is clipped to the end of its recording. decode: decode the recording; otherwise its header is trusted.
    BadUtterance for recordings that cannot be read, and for a segment or a channel that is not in it.
    """
    if not row.get("audio_filepath"):
        return row, []
    from ds2cli.audio.codecs import check_channel

    status = os.stat(row["audio_filepath"])  # noqa: PTH116
    info = _probe(row["audio_filepath"], decode, status.st_size, status.st_mtime_ns)
    check_channel(info.channels, row.get("channel"), row["audio_filepath"])
    begin, speed = row.get("offset", 0.0), row.get("speed", 1.0)
    if begin >= info.duration_s:
        detail = f"the segment begins at {begin:g} s, {row['audio_filepath']} has {info.duration_s:.2f} s"
        raise BadUtterance("bad-segment", detail)
    changed: dict[str, Any] = {}
    done = []
    stated, longest = row.get("duration"), (info.duration_s - begin) / speed
    is_whole = "offset" not in row
    if not stated or stated > longest + ROUNDING_S or (is_whole and stated < longest - ROUNDING_S):
        changed["duration"] = round(longest, 6)
        done.append("duration of the recording" if is_whole or not stated else "segment clipped to its recording")
    if row.get("sample_rate", info.sample_rate) != info.sample_rate:
        changed["sample_rate"] = info.sample_rate
        done.append("sample_rate of the recording")
    return {**row, **changed} if changed else row, done


def repair_counts(row: Row, done: list[str]) -> tuple[Row, list[str]]:
    """The row with the numbers of frames and steps of its matrices; BadUtterance if one cannot be read."""
    from ds2cli.archive import matrix_shape

    for name, count in (("feats", "num_frames"), ("emission", "num_steps")):
        if name not in row:
            continue
        rows, _ = matrix_shape(row[name], row["id"])
        if row.get(count, rows) != rows:
            row, done = {**row, count: rows}, [*done, f"{count} of the matrix"]
    return row, done


@lru_cache(maxsize=64)
def _probe(path: str, decode: bool, _size: int, _mtime_ns: int) -> Any:
    """Read a recording once for all its segments."""
    from ds2cli.audio.read import probe

    return probe(path, decode=decode)


def _is_control(c: str) -> bool:
    return unicodedata.category(c) == "Cc"


def _repair_value(name: str, value: Any) -> tuple[str, Any]:
    """What is done with a malformed value, and the new one, None to remove it; "" if nothing helps."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name == "id":
        new = _NOT_IN_IDS.sub("_", value.strip()) if isinstance(value, str) else str(value) if is_number else ""
        return ("id with spaces or of another type rewritten", new) if new else ("id removed", None)
    if name == "offset" and is_number and value < 0:
        return "offset below 0 set to 0", 0.0
    if name == "duration" and is_number:
        return "duration that is no duration removed", None
    expects_number = FIELDS[name][0](1)
    if isinstance(value, str) and expects_number:
        for number in (int, float):
            try:
                return "number in quotes written as a number", number(value)
            except ValueError:
                continue
    if is_number and not expects_number:
        return "number written as text", str(value)
    return "", value
