"""NIST's stm: lines of recording, channel, speaker, begin, end (s), labels such as <o,f0,male> if any, and the words.

Lines that begin with `;;` are comments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import MAX_SECONDS, Row, is_id
from ds2cli.transcripts.texts import COMMENT, read_lines, report_bad, require_utf8

CHANNELS = {"1": 0, "2": 1, "A": 0, "B": 1}
"""Number from 0 of a channel as NIST's formats name it."""

_IGNORED = ("IGNORE_TIME_SEGMENT_IN_SCORING", "IGNORETIMESEGMENTINSCORING")


@dataclass(frozen=True)
class Segment:
    """A part of a recording with its reference. begin, end: seconds.  label: without the brackets, "" if none."""

    recording: str
    channel: str
    speaker: str
    begin: float
    end: float
    label: str
    text: str

    @property
    def is_ignored(self) -> bool:
        """Whether neither this segment nor the words recognized in it count."""
        upper = self.text.upper()
        return any(mark in upper for mark in _IGNORED)

    def as_row(self) -> Row:
        """As a row, whose id is made from speaker, recording, channel and times (ms).

        The speaker comes first as in Kaldi, whose tools and sclite take the beginning of an id for the speaker.
        `channel` is a number from 0, if it is known; `stm_channel` is its name here.
        """
        times = f"{round(self.begin * 1000):08d}-{round(self.end * 1000):08d}"
        row: Row = {"id": f"{self.speaker}-{self.recording}-{self.channel}-{times}", "recording": self.recording}
        row |= {"stm_channel": self.channel, "speaker": self.speaker, "offset": self.begin}
        if self.channel in CHANNELS:
            row["channel"] = CHANNELS[self.channel]
        row["duration"] = round(self.end - self.begin, 6)
        if self.label:
            row["label"] = self.label
        row["text"] = self.text
        return row


def read(path: str, ledger: Ledger | None = None) -> list[Segment]:
    """The segments of a file, by recording, channel and begin.

    ledger: records bad lines; without it they are a DataError with `path:line`.
    """
    segments = list(_read_segments(path, ledger))
    return sorted(segments, key=lambda s: (s.recording, s.channel, s.begin))


def _read_segments(path: str, ledger: Ledger | None) -> Iterator[Segment]:
    for location, line in read_lines(path, COMMENT):
        try:
            require_utf8(line)
            segment = _parse(line)
        except BadUtterance as e:
            report_bad(location, e, ledger)
        else:
            yield segment


def _parse(line: str) -> Segment:
    fields = line.split(maxsplit=5)
    try:
        begin, end = float(fields[3]), float(fields[4])
        # also false for NaN
        if not 0 <= begin <= end <= MAX_SECONDS or not all(map(is_id, fields[:3])):
            raise ValueError
    except (IndexError, ValueError) as e:
        expected = "RECORDING CHANNEL SPEAKER BEGIN END [<LABELS>] WORDS, times in seconds"
        raise BadUtterance("not-stm", f"expected {expected}, found {line[:60]!r}") from e
    label, text = "", fields[5].strip() if len(fields) > 5 else ""
    if text.startswith("<"):
        label, *words = text.split(maxsplit=1)
        text = words[0] if words else ""
    return Segment(fields[0], fields[1], fields[2], begin, end, label.strip("<>"), text)
