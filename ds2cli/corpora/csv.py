"""Your own table of recordings: CSV, TSV, LJSpeech's `id|text|normalized text`, or JSON Lines such as NeMo's.

What       Common Voice, LJSpeech, NeMo and Coqui tables work without options; licenses are those of the corpora.
Source     SRC is the table; `.gz` and `-` work.
Layout     The first line decides the format: `{` starts JSON Lines, otherwise a tab, a bar or a comma separates the
           columns. Columns with usual names (path, sentence, …) are found; --audio-column and so on name others. In a
           table without a header, the name of a column is its number, from 0. Audio paths are relative to the folder of
           the table, the one above, or one in it such as clips/ or wavs/; the file extension may be missing. A row with
           `offset` and `duration` (s) stands for that part of its file.
Dropped    Lines with a wrong number of columns, bad JSON, text that is not UTF-8, or no audio path or text.

Example: ds2 prepare csv clips.tsv data/all.jsonl --audio-column path --text-column sentence
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ds2cli import io, manifest
from ds2cli.audio.read import AUDIO_SUFFIXES
from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig, TranscriptOptions
from ds2cli.corpora.folder import id_from_path
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.manifest import Row

USUAL_COLUMNS = {
    "audio": ("audio_filepath", "path", "audio", "audio_path", "wav_filename", "file_name", "filename", "file", "wav"),
    "text": ("sentence", "text", "transcript", "transcription", "normalized_text", "txt"),
    "id": ("id", "utt_id", "utt", "key"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk"),
}
LJSPEECH_COLUMNS = {"audio": "0", "text": "2", "id": "0", "speaker": None}
AUDIO_DIRS = (".", "clips", "wavs", "wav", "audio", "..")

Cells = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options(TranscriptOptions, PrepareConfig):
    """Settings of a table of recordings."""

    audio_column: str | None = setting(None, help="Column of the audio path [default: path, audio_filepath, …].")
    text_column: str | None = setting(None, help="Column of the text [default: sentence, text, transcript, …].")
    id_column: str | None = setting(None, help="Column of the id [default: id, or made from the audio path].")
    speaker_column: str | None = setting(None, help="Column of the speaker [default: speaker, speaker_id, …].")
    audio_dir: str | None = setting(
        None, help="Folder that audio paths are relative to [default: found near SRC, such as clips/ or wavs/]."
    )


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each line of the table."""
    finder = _AudioFinder(source, config.audio_dir)
    with io.open_in(source) as f:
        lines = (line.rstrip("\r\n") + "\n" for line in f)
        first = next(lines, "").removeprefix("\ufeff")
        if not first.strip():
            raise DataError(f"{source}: the file is empty, expected a table")
        columns: dict[str, str | None] | None
        if first.lstrip().startswith("{"):
            table, columns = _read_json_lines(chain([first], lines)), _named_columns(config)
        else:
            table, columns = _read_table(first, lines, config, source)
        for number, cells in table:
            location = f"{source}:{number}"
            try:
                yield _make_row(cells, columns, finder, config)
            except BadUtterance as e:
                ledger.drop(_id(cells, columns) or location, e.reason, f"{location}: {e.detail}")


class _AudioFinder:
    """Finds the audio files of a table: in the given folder, or else in the usual folders near the table."""

    def __init__(self, source: str, audio_dir: str | None) -> None:
        base = Path() if source == "-" else Path(source).parent
        self.folders = [Path(audio_dir)] if audio_dir is not None else [base / name for name in AUDIO_DIRS]

    def find(self, name: str) -> Path:
        """The file of an audio path, with or without its extension; a path in the first folder if there is none."""
        endings = [""] if Path(name).suffix.lower() in AUDIO_SUFFIXES else ["", *sorted(AUDIO_SUFFIXES)]
        for folder in self.folders:
            for ending in endings:
                path = folder / (name + ending)
                if path.is_file():
                    # usually all files of a table are in the same folder: search it first from now on
                    self.folders.remove(folder)
                    self.folders.insert(0, folder)
                    return Path(os.path.normpath(path))
        return self.folders[0] / name


def _named_columns(config: Options) -> dict[str, str | None]:
    return {kind: getattr(config, f"{kind}_column") for kind in USUAL_COLUMNS}


def _read_json_lines(lines: Iterable[str]) -> Iterator[tuple[int, Cells | BadUtterance]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, manifest.parse_json(line)
        except BadUtterance as e:
            yield number, e


def _read_table(
    first: str, lines: Iterable[str], config: Options, source: str
) -> tuple[Iterator[tuple[int, Cells | BadUtterance]], dict[str, str | None]]:
    delimiter = next((d for d in "\t|" if d in first), ",")
    # tabs and bars cannot be part of a text, so tables that use them do not quote, and quotes belong to the text
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    reader = csv.reader(chain([first], lines), delimiter=delimiter, quoting=quoting)
    head = next(reader)
    named = _named_columns(config)
    usual = {name for names in USUAL_COLUMNS.values() for name in names}
    numbers = [str(i) for i in range(len(head))]
    rows: Iterable[list[str]] = reader
    if any(name in named.values() or name in usual for name in head):
        names, columns = head, named
    elif delimiter == "|" and not any(named.values()):
        columns = {**LJSPEECH_COLUMNS, "text": str(min(2, len(head) - 1))}
        names, rows = numbers, chain([head], reader)
    elif named["audio"] in numbers:
        names, rows, columns = numbers, chain([head], reader), named
    else:
        raise UsageError(
            f"{source}:1: no column has a usual name: {', '.join(head)[:80]!r} (name them, such as --audio-column path "
            "--text-column sentence, or give their numbers from 0 if the table has no header)"
        )
    for kind, name in columns.items():
        if name is not None and name not in names:
            raise UsageError(f"--{kind}-column {name}: no such column, {source} has {', '.join(names)}")

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
    names = (name,) if name is not None else USUAL_COLUMNS[kind]
    return next((cells[n] for n in names if cells.get(n) not in (None, "")), None)


def _id(cells: Cells | BadUtterance, columns: dict[str, str | None]) -> str:
    if isinstance(cells, BadUtterance):
        return ""
    given, audio = _cell(cells, columns, "id"), _cell(cells, columns, "audio")
    name = given or (id_from_path(Path(audio)) if isinstance(audio, str) else "")
    return name.encode("utf-8", "replace").decode() if isinstance(name, str) else ""


def _seconds(cells: Cells, name: str) -> float:
    try:
        seconds = float(cells[name])
    except (KeyError, TypeError, ValueError):
        raise BadUtterance("wrong-type", f"the {name} must be a number of seconds, got {cells.get(name)!r}") from None
    if not 0 <= seconds < math.inf:
        raise BadUtterance("wrong-type", f"the {name} must be a number of seconds >= 0, got {seconds}")
    return seconds


def _make_row(
    cells: Cells | BadUtterance, columns: dict[str, str | None], finder: _AudioFinder, config: Options
) -> Row:
    if isinstance(cells, BadUtterance):
        raise cells
    values = {kind: _cell(cells, columns, kind) for kind in USUAL_COLUMNS}
    for kind, value in values.items():
        if kind == "id" and isinstance(value, int):
            values[kind] = str(value)
        elif value is not None and not isinstance(value, str):
            raise BadUtterance("wrong-type", f"the {kind} must be a string, got {json.dumps(value)[:40]}")
        elif value is not None and any("\ud800" <= c <= "\udfff" for c in value):
            raise BadUtterance("not-utf8", f"the {kind} is not UTF-8, perhaps Latin-1 (iconv -f latin1 -t utf-8)")
    if values["audio"] is None:
        raise BadUtterance("no-audio-filepath", "the audio path is missing or empty")
    row: Row = {
        "id": values["id"] or id_from_path(Path(values["audio"])),
        "audio_filepath": str(finder.find(values["audio"])),
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
