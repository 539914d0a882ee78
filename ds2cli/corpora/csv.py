"""A table of recordings: CSV, TSV, LJSpeech's `id|text|normalised text`, or JSON lines as NeMo's.

SRC is the table; `.gz` and `-` work. The first line decides how it is read: `{` starts JSON lines, else a tab, a bar or
a comma separates columns. Columns are found by their usual names (Common Voice, LJSpeech, NeMo, Coqui) or named by
`--audio-column` and its kin; a number names a column of a table without a header, from 0.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ds2cli import io
from ds2cli.audio.read import SUFFIXES
from ds2cli.config.prepare import PrepareConfig
from ds2cli.corpora.folder import name_of
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.manifest import Row

OPTIONS = ("lang", "text", "numbers", "audio_column", "text_column", "id_column", "speaker_column", "audio_dir")

USUAL = {
    "audio": ("audio_filepath", "path", "audio", "audio_path", "wav_filename", "file_name", "filename", "file", "wav"),
    "text": ("sentence", "text", "transcript", "transcription", "normalized_text", "txt"),
    "id": ("id", "utt_id", "utt", "key"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk"),
}
LJSPEECH = {"audio": "0", "text": "2", "id": "0", "speaker": None}
PLACES = (".", "clips", "wavs", "wav", "audio", "..")

Cells = dict[str, Any]


def prepare(source: str, config: PrepareConfig, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each line of the table."""
    place = _Places(source, config.audio_dir)
    with io.open_in(source) as f:
        lines = (line.rstrip("\r\n") + "\n" for line in f)
        first = next(lines, "").removeprefix("\ufeff")
        if not first.strip():
            raise DataError(f"{source}: is empty, expected a table")
        columns: dict[str, str | None] | None
        if first.lstrip().startswith("{"):
            table, columns = _json_lines(chain([first], lines)), _named(config)
        else:
            table, columns = _table(first, lines, config, source)
        for number, cells in table:
            where = f"{source}:{number}"
            try:
                yield _row(cells, columns, place, config)
            except BadUtterance as e:
                ledger.drop(_id(cells, columns) or where, e.reason, f"{where}: {e.detail}")


class _Places:
    """Where the audio paths of a table start: the folder given, or the first near the table where one is found."""

    def __init__(self, source: str, audio_dir: str | None) -> None:
        base = Path() if source == "-" else Path(source).parent
        self.folders = [Path(audio_dir)] if audio_dir is not None else [base / place for place in PLACES]

    def find(self, name: str) -> Path:
        """The file of a name in the table, with or without an ending; the first guess when there is none."""
        endings = [""] if Path(name).suffix.lower() in SUFFIXES else ["", *sorted(SUFFIXES)]
        for folder in self.folders:
            for ending in endings:
                path = folder / (name + ending)
                if path.is_file():
                    # all of a table's files are mostly in one place
                    self.folders.remove(folder)
                    self.folders.insert(0, folder)
                    return Path(os.path.normpath(path))
        return self.folders[0] / name


def _named(config: PrepareConfig) -> dict[str, str | None]:
    return {kind: getattr(config, f"{kind}_column") for kind in USUAL}


def _json_lines(lines: Iterable[str]) -> Iterator[tuple[int, Cells | BadUtterance]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except json.JSONDecodeError as e:
            yield number, BadUtterance("not-json", f"{e.msg} at column {e.colno}")
            continue
        yield number, cells if isinstance(cells, dict) else BadUtterance("not-json", "expected an object {…}")


def _table(
    first: str, lines: Iterable[str], config: PrepareConfig, source: str
) -> tuple[Iterator[tuple[int, Cells | BadUtterance]], dict[str, str | None]]:
    delimiter = next((d for d in "\t|" if d in first), ",")
    # tabs and bars cannot be in a text, so quotes there are the text's own
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    reader = csv.reader(chain([first], lines), delimiter=delimiter, quoting=quoting)
    head = next(reader)
    named = _named(config)
    usual = {name for names in USUAL.values() for name in names}
    numbers = [str(i) for i in range(len(head))]
    rows: Iterable[list[str]] = reader
    if any(name in named.values() or name in usual for name in head):
        names, columns = head, named
    elif delimiter == "|" and not any(named.values()):
        columns = {**LJSPEECH, "text": str(min(2, len(head) - 1))}
        names, rows = numbers, chain([head], reader)
    elif named["audio"] in numbers:
        names, rows, columns = numbers, chain([head], reader), named
    else:
        raise UsageError(
            f"{source}:1: no column with a usual name among {', '.join(head)[:80]!r}; name them: --audio-column path "
            "--text-column sentence, or by number from 0 when there is no header"
        )
    for kind, name in columns.items():
        if name is not None and name not in names:
            raise UsageError(f"--{kind}-column {name}: {source} has {', '.join(names)}")

    def cells() -> Iterator[tuple[int, Cells | BadUtterance]]:
        for row in rows:
            if len(row) == len(names):
                yield reader.line_num, dict(zip(names, row, strict=True))
            elif row:
                detail = f"{len(row)} columns, expected {len(names)}"
                yield reader.line_num, BadUtterance("wrong-columns", detail)

    return cells(), columns


def _cell(cells: Cells, columns: dict[str, str | None], kind: str) -> Any:
    name = columns[kind]
    names = (name,) if name is not None else USUAL[kind]
    return next((cells[n] for n in names if cells.get(n) not in (None, "")), None)


def _id(cells: Cells | BadUtterance, columns: dict[str, str | None]) -> str:
    if isinstance(cells, BadUtterance):
        return ""
    given, audio = _cell(cells, columns, "id"), _cell(cells, columns, "audio")
    found = given or (name_of(Path(audio)) if isinstance(audio, str) else "")
    return found.encode("utf-8", "replace").decode() if isinstance(found, str) else ""


def _seconds(cells: Cells, name: str) -> float:
    try:
        seconds = float(cells[name])
    except (KeyError, TypeError, ValueError):
        raise BadUtterance("wrong-type", f"the {name} must be seconds, got {cells.get(name)!r}") from None
    if not 0 <= seconds < math.inf:
        raise BadUtterance("wrong-type", f"the {name} must be seconds, got {seconds}")
    return seconds


def _row(cells: Cells | BadUtterance, columns: dict[str, str | None], place: _Places, config: PrepareConfig) -> Row:
    if isinstance(cells, BadUtterance):
        raise cells
    values = {kind: _cell(cells, columns, kind) for kind in USUAL}
    for kind, value in values.items():
        if kind == "id" and isinstance(value, int):
            values[kind] = str(value)
        elif value is not None and not isinstance(value, str):
            raise BadUtterance("wrong-type", f"the {kind} must be a string, got {json.dumps(value)[:40]}")
        elif value is not None and any("\ud800" <= c <= "\udfff" for c in value):
            raise BadUtterance("not-utf8", f"the {kind} is not UTF-8; Latin-1? (iconv -f latin1 -t utf-8)")
    if values["audio"] is None:
        raise BadUtterance("no-audio-filepath", "the audio path is missing or empty")
    row: Row = {
        "id": values["id"] or name_of(Path(values["audio"])),
        "audio_filepath": str(place.find(values["audio"])),
    }
    if config.text:
        if values["text"] is None:
            raise BadUtterance("no-text", "the text is missing or empty")
        row["text"] = values["text"]
    if values["speaker"] is not None:
        row["speaker"] = values["speaker"]
    row["lang"] = config.lang
    if cells.get("offset") not in (None, ""):
        row["offset"], row["duration"] = _seconds(cells, "offset"), _seconds(cells, "duration")
        if values["id"] is None:
            row["id"] += f"-{round(row['offset'] * 1000):08d}"
    return row
