"""Corpora of long recordings in one JSON file: GigaSpeech, WenetSpeech, and those that follow their format.

`{"audios": [{"aid", "path", "segments": [{"sid", "begin_time", "end_time", "text", "subsets", …}]}]}`

Such a file has several gigabytes: it is read entry by entry, and only the entry of one recording is in memory.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ds2cli import io
from ds2cli.corpora._layout import require_layout
from ds2cli.drops import Ledger
from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.json_lines import explain_json_error
from ds2cli.manifest import MAX_SECONDS, Row, is_id

ENTRIES = "audios"
NO_SPEAKER = ("", "N/A")

_CHUNK = 1 << 20
_LARGEST = 1 << 28
"""Characters of an entry beyond which the file is broken; a recording of ten hours has about a million."""

_TRUNCATED = 32
"""Characters before the end of a text within which the end may be the reason of an error."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment, with the recording that it is in.

    base: folder of the paths.  location: `path:line` of the recording in the list.  recording: its id, None if it has
    none.
    """

    base: str
    location: str
    audio: dict[str, Any]
    recording: str | None
    fields: dict[str, Any]

    @property
    def name(self) -> str:
        """Its id as the ledger shows it: the location if it has none."""
        name = self.fields.get("sid", self.fields.get("seg_id"))
        return name if isinstance(name, str) and is_id(name) and not explain_undecodable(name) else self.location

    @property
    def subsets(self) -> frozenset[str]:
        """The parts of the corpus that it is in, without braces."""
        names = self.fields.get("subsets", self.audio.get("subsets"))
        return frozenset(str(name).strip("{}") for name in names) if isinstance(names, list) else frozenset()

    def text(self, *names: str) -> str:
        """The first of these fields that the segment has; BadUtterance if it has none."""
        for name in names:
            if isinstance(text := self.fields.get(name), str):
                return text
        raise BadUtterance("no-text", f"{self.location}: the field {names[0]!r} is missing, or no string")

    def number(self, name: str) -> float:
        """A field that is a number; BadUtterance if it is none."""
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise BadUtterance("wrong-type", f"{self.location}: {name} must be a number, got {_show(value)}")
        return float(value)

    def as_row(self) -> Row:
        """A row without a text; BadUtterance for fields that are missing or make no sense."""
        name = self.name
        if name == self.location:
            raise BadUtterance("no-id", f"{self.location}: a segment without a sid, or with one that has spaces in it")
        path = self.audio.get("path")
        if not isinstance(path, str) or not path or "\0" in path or explain_undecodable(path):
            raise BadUtterance("no-audio-filepath", f"{self.location}: the path must be a string, got {_show(path)}")
        begin, end = self.number("begin_time"), self.number("end_time")
        if not 0 <= begin < end <= MAX_SECONDS:
            raise BadUtterance("bad-segment", f"{self.location}: the segment is from {begin:g} to {end:g} s")
        row: Row = {"id": name, "audio_filepath": os.path.join(self.base, path), "offset": begin}
        row["duration"] = round(end - begin, 6)
        speaker = self.fields.get("speaker", self.audio.get("speaker"))
        if isinstance(speaker, str) and speaker not in NO_SPEAKER:
            row["speaker"] = speaker
        if self.recording is not None:
            row["recording"] = self.recording
        return row


def read_segments(source: str, list_name: str, audio_dir: str | None, ledger: Ledger) -> Iterator[Segment]:
    """The segments of a corpus.

    source: its folder, with the file `list_name`, or a JSON file.  audio_dir: where the paths start [default: the
    folder of that file].
    Entries that are no recordings are dropped. DataError if there is no such file, or it is not JSON of this format.
    """
    path = _find_list(Path(source), list_name)
    base = audio_dir if audio_dir is not None else str(path.parent)
    for line, audio in read_entries(str(path)):
        location = f"{path}:{line}"
        if not isinstance(audio, dict) or not isinstance(audio.get("segments"), list):
            detail = f"{location}: expected a recording with a list of segments, got {_show(audio)}"
            ledger.drop(location, "wrong-type", detail)
            continue
        recording = audio["aid"] if is_id(audio.get("aid")) else None
        for fields in audio["segments"]:
            if isinstance(fields, dict):
                yield Segment(base, location, audio, recording, fields)
            else:
                ledger.drop(location, "wrong-type", f"{location}: a segment must be an object, got {_show(fields)}")


def parse_parts(text: str, known: Sequence[str], option: str = "--part") -> frozenset[str] | None:
    """The parts that an option names, with or without braces; None for all of them. UsageError for an unknown one."""
    if text == "all":
        return None
    names = frozenset(name.strip().strip("{}").upper() for name in text.split(","))
    if unknown := sorted(names - {*known}):
        raise UsageError(f"{option} {','.join(unknown)}: expected all, or some of {', '.join(known)}")
    return names


def find_split(subsets: frozenset[str]) -> str:
    """`train`, or the name of the evaluation set in lower case."""
    return next((name.lower() for name in sorted(subsets) if name.startswith(("DEV", "TEST"))), "train")


def read_entries(path: str) -> Iterator[tuple[int, Any]]:
    """The values in the list `audios` of a JSON object, each after the number of the line where it begins.

    DataError with `path:line` if the file is not such JSON; nothing is read after the list.
    """
    with io.open_in(path) as f:
        reader = _JsonReader(f, path)
        reader.expect("{", f"an object with the list {ENTRIES!r}")
        while reader.peek() != "}":
            name = reader.read_value()
            reader.expect(":", "a colon")
            if name == ENTRIES:
                yield from reader.read_list()
                return
            reader.read_value()
            if reader.peek() == ",":
                reader.expect(",", "a comma")
        raise DataError(f"{path}: no list {ENTRIES!r} in this file, expected the format of GigaSpeech or WenetSpeech")


class _JsonReader:
    """Reads JSON values one after another from a text that does not fit in memory."""

    def __init__(self, f: TextIO, name: str) -> None:
        self._f, self._name = f, name
        self._decoder = json.JSONDecoder()
        self._text, self._pos, self._at_end = "", 0, False
        self._line, self._counted = 1, 0

    @property
    def line(self) -> int:
        """Number of the line, from 1."""
        self._line += self._text.count("\n", self._counted, self._pos)
        self._counted = self._pos
        return self._line

    def peek(self) -> str:
        """The next character that is not white space, "" at the end."""
        while True:
            while self._pos < len(self._text):
                if (c := self._text[self._pos]) not in " \t\r\n":
                    return c
                self._pos += 1
            if not self._read_more():
                return ""

    def expect(self, character: str, what: str) -> None:
        """Pass over a character; DataError if it is not the next one."""
        if (found := self.peek()) != character:
            raise self._error(f"expected {what}, found {found!r}" if found else "the file ends too early")
        self._pos += 1

    def read_value(self) -> Any:
        """The next value; DataError if there is none."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._pos)
            except json.JSONDecodeError as e:
                # the text that is there may end in the middle of a value
                is_cut = e.pos >= len(self._text) - _TRUNCATED or e.msg.startswith("Unterminated string")
                if not is_cut or self._at_end:
                    line = self.line + self._text.count("\n", self._pos, e.pos)
                    message = "the file ends in the middle of an entry" if is_cut else explain_json_error(e)
                    raise DataError(f"{self._name}:{line}: not JSON: {message}") from e
            except (RecursionError, ValueError) as e:
                raise self._error(explain_json_error(e)) from e
            else:
                # a number may go on, such as 1. in 1.25
                may_go_on = isinstance(value, (int, float)) and end >= len(self._text) - _TRUNCATED
                if not may_go_on or self._at_end:
                    self._pos = end
                    return value
            if len(self._text) - self._pos > _LARGEST:
                raise self._error("an entry has no end")
            self._read_more()

    def read_list(self) -> Iterator[tuple[int, Any]]:
        """The values of a list, after the numbers of their lines."""
        self.expect("[", "a list")
        if self.peek() == "]":
            return
        while True:
            self.peek()
            line = self.line
            yield line, self.read_value()
            if self.peek() == "]":
                return
            self.expect(",", "a comma or the end of the list")

    def _read_more(self) -> bool:
        """Read as much as is there already, so that a long entry is tried a few times only; False at the end."""
        self._line, self._text, self._pos, self._counted = self.line, self._text[self._pos :], 0, 0
        more = self._f.read(max(_CHUNK, len(self._text)))
        self._at_end = not more
        self._text += more
        return not self._at_end

    def _error(self, message: str) -> DataError:
        return DataError(f"{self._name}:{self.line}: not JSON: {message}")


def _find_list(source: Path, name: str) -> Path:
    if not source.is_dir():
        # a missing file is reported when it is opened
        return source
    for file in (source / name, source / f"{name}.gz"):
        if file.is_file():
            return file
    others = sorted(path.name for path in source.glob("*.json"))
    hint = f"SRC may be the file itself, such as {source / others[0]}" if others else ""
    return require_layout(str(source), name.removesuffix(".json"), (name,), hint) / name


def _show(value: Any) -> str:
    return json.dumps(value, default=str)[:60]
