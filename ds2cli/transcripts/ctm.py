"""NIST's ctm: lines of recording, channel, start, duration (s), word, and a confidence if any.

Lines that begin with `;` are comments. The marks of alternatives (<ALT_BEGIN>, <ALT>, <ALT_END>) are skipped: the words
of all of them count as plain words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.manifest import MAX_SECONDS, Row, is_id
from ds2cli.search.align import ctm_line
from ds2cli.transcripts.stm import Segment
from ds2cli.transcripts.texts import read_lines, report_bad, require_utf8

_ALTERNATIVE = "<ALT"


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A recognized word. start, duration: seconds, in the recording."""

    word: str
    start: float
    duration: float
    conf: float | None

    @property
    def middle(self) -> float:
        """The time that decides in which segment the word lies (s)."""
        return self.start + self.duration / 2

    def as_field(self, offset: float = 0.0) -> dict[str, Any]:
        """As an element of a row's `pred_words`, times from `offset` on."""
        start, end = self.start - offset, self.start + self.duration - offset
        field: dict[str, Any] = {"word": self.word, "start": round(start, 3), "end": round(end, 3)}
        return field if self.conf is None else {**field, "conf": self.conf}


Channels = dict[tuple[str, str], list[TimedWord]]
"""The words of each recording and channel, by start."""


def read(path: str, ledger: Ledger | None = None) -> Channels:
    """The words of a file. ledger: records bad lines; without it they are a DataError with `path:line`."""
    channels: Channels = {}
    alternatives = 0
    for location, line in read_lines(path, ";"):
        try:
            require_utf8(line)
            fields = line.split()
            if len(fields) > 4 and fields[4].upper().startswith(_ALTERNATIVE):
                alternatives += fields[4].upper() == "<ALT_BEGIN>"
                continue
            word = _parse(fields, line)
        except BadUtterance as e:
            report_bad(location, e, ledger)
        else:
            channels.setdefault((fields[0], fields[1]), []).append(word)
    for words in channels.values():
        words.sort(key=lambda word: word.start)
    if alternatives and ledger is not None:
        ledger.notes.append(f"{path}: words with alternatives: {alternatives}: all alternatives count as plain words")
    return channels


def as_rows(channels: Channels) -> Iterator[Row]:
    """Yield a row with `pred_text` and `pred_words` for each recording, sorted by id: its words in all channels."""
    recordings: dict[str, list[TimedWord]] = {}
    for (recording, _), words in channels.items():
        recordings.setdefault(recording, []).extend(words)
    for recording in sorted(recordings):
        yield {"id": recording, **_as_fields(sorted(recordings[recording], key=lambda word: word.start))}


def join_segments(channels: Channels, segments: Iterable[Segment], ref: str, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each segment with the words that sclite assigns to it, sorted by id.

    A word belongs to the first segment of its recording and channel that ends after the middle of the word, so one
    between two segments to the second, and one after the last segment to that. Segments to be ignored are dropped with
    their words. If nothing was recognized in a channel, its rows have no `pred_text`.
    segments: by recording, channel and begin.  ref: their file, for messages.
    DataError for words of a channel without segments, and for two segments with the same id.
    """
    by_channel: dict[tuple[str, str], list[Segment]] = {}
    for segment in segments:
        by_channel.setdefault((segment.recording, segment.channel), []).append(segment)
    for recording, channel in channels:
        if (recording, channel) not in by_channel:
            known = sorted(c for r, c in by_channel if r == recording)
            found = f"its segments are of channel {', '.join(known)}" if known else "it has no segments there"
            raise DataError(
                f"{ref}: recording {recording!r} has words in channel {channel!r}, but no reference: {found}"
            )
    rows: dict[str, Row] = {}
    for key, parts in by_channel.items():
        words = channels.get(key)
        for segment, its_words in zip(parts, _distribute(words or [], parts), strict=True):
            row = segment.as_row()
            if row["id"] in rows:
                raise DataError(f"{ref}: two segments have the same speaker, recording, channel and times: {row['id']}")
            if segment.is_ignored:
                detail = f"segment to be ignored; hypothesis words in it: {len(its_words)}"
                ledger.drop(row["id"], "ignored-segment", detail, bad=False)
                continue
            rows[row["id"]] = row if words is None else {**row, **_as_fields(its_words, segment.begin)}
    yield from (rows[id_] for id_ in sorted(rows))


class CtmWriter:
    """Writes the words of rows with `pred_words` to `f`; rows arrive by id.

    The recording is the file of `audio_filepath` without its extension for a segment of a longer one (a row with
    `offset`, which is added to the times) or one of its channels (`channel`), else the id. Words are sorted within a
    recording.
    missing: rows without `pred_words`.  is_sorted: whether the recordings came in order, as sclite expects.
    """

    def __init__(self, f: TextIO) -> None:
        self.f = f
        self.missing = 0
        self.is_sorted = True
        self._recording: tuple[str, str] = ("", "")
        self._words: list[dict[str, Any]] = []

    def add(self, row: Row) -> None:
        """Write the words of a row. BadUtterance "wrong-type" if they lack words or times."""
        if "pred_words" not in row:
            self.missing += 1
            return
        recording, offset = recording_of(row)
        words = [_shift(word, offset) for word in row["pred_words"]]
        if recording != self._recording:
            self.finish()
            self.is_sorted = self.is_sorted and recording > self._recording
            self._recording = recording
        self._words += words

    def finish(self) -> None:
        """Write the words of the last recording."""
        name, channel = self._recording
        self._words.sort(key=lambda word: word["start"])
        self.f.writelines(ctm_line(name, word, channel) for word in self._words)
        self._words = []


def recording_of(row: Row) -> tuple[tuple[str, str], float]:
    """The recording and the channel of a row, and where the row begins in it (s)."""
    channel = str(row.get("stm_channel", row.get("channel", 0) + 1))
    if "recording" in row:
        return (str(row["recording"]), channel), row.get("offset", 0.0)
    offset = row.get("offset", 0.0)
    if ("offset" in row or "channel" in row) and row.get("audio_filepath"):
        name = row["audio_filepath"].rpartition("/")[2]
        return ("_".join((name.rpartition(".")[0] or name).split()) or row["id"], channel), offset
    return (row["id"], channel), 0.0


def _parse(fields: list[str], line: str) -> TimedWord:
    try:
        start, duration = float(fields[2]), float(fields[3])
        conf = None if len(fields) < 6 or fields[5].upper() == "NA" else float(fields[5])
        # also false for NaN
        if not 0 <= duration <= MAX_SECONDS or not abs(start) <= MAX_SECONDS or not all(map(is_id, fields[:2])):
            raise ValueError
        if conf is not None and not 0 <= conf <= 1:
            raise ValueError
        return TimedWord(fields[4], start, duration, conf)
    except (IndexError, ValueError) as e:
        expected = "RECORDING CHANNEL START DURATION WORD [CONFIDENCE], times in seconds, confidence 0 to 1"
        raise BadUtterance("not-ctm", f"expected {expected}, found {line[:60]!r}") from e


def _distribute(words: list[TimedWord], segments: list[Segment]) -> Iterator[list[TimedWord]]:
    """The words of each segment, as sclite distributes those of a channel."""
    begin = 0
    for segment in segments[:-1]:
        end = begin
        while end < len(words) and words[end].middle < segment.end:
            end += 1
        yield words[begin:end]
        begin = end
    yield words[begin:]


def _as_fields(words: list[TimedWord], offset: float = 0.0) -> Row:
    return {"pred_text": " ".join(w.word for w in words), "pred_words": [w.as_field(offset) for w in words]}


def _shift(word: Mapping[str, Any], offset: float) -> dict[str, Any]:
    try:
        shifted = {**word, "start": float(word["start"]) + offset, "end": float(word["end"]) + offset}
        if not isinstance(word["word"], str) or len(word["word"].split()) != 1:
            raise ValueError
    except (KeyError, TypeError, ValueError) as e:
        detail = f"an element of 'pred_words' must have word, start and end, got {str(dict(word))[:60]}"
        raise BadUtterance("wrong-type", detail) from e
    return shifted
