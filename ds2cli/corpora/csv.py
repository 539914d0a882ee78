"""Your own table of recordings: CSV, TSV, LJSpeech's `id|text|normalized text`, or JSON such as NeMo's manifests.

What       Common Voice, LJSpeech, NeMo, SpeechBrain and Coqui tables work without options; licenses are those of the
           corpora.
Source     SRC is the table, in UTF-8 or UTF-16; `.gz` and `-` work.
Layout     The first line decides the format: `{` or `[` starts JSON, otherwise tabs, bars, commas or semicolons are
           between the columns. Columns with usual names (path, sentence, …) are found, in upper or lower case;
           --audio-column and so on name others. Without a header, the name of a column is its number, from 0. Audio
           paths are relative to the folder of the table, the one above, or one in it such as clips/ or wavs/; the file
           extension may be missing. A row with `offset` and `duration` (s) stands for that part of its file, one with
           a `channel` (a number from 0, or A and B) for that side of a telephone call. Codes in a column lang, locale
           or language (tr) are the languages of the rows. Rows without an id get one made from the audio path, with a
           hash of the path where it would not be unique.
Dropped    Rows with a wrong number of columns or a quotation mark that is never closed, bad JSON, text that is not
           UTF-8, or no audio path or text. Empty lines are no rows.

Example: ds2 prepare csv clips.tsv data/all.jsonl --audio-column path --text-column sentence
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ds2cli import io
from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig, TranscriptOptions
from ds2cli.corpora._audio_finder import AudioFinder, has_audio_ending, is_file_name
from ds2cli.corpora._ids import id_from_path, note_hashes, segment_id, unique_ids
from ds2cli.corpora._table import Cells, Record, Separated, normalize_name, read_json
from ds2cli.drops import Ledger
from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.json_lines import explain_json_error
from ds2cli.manifest import MAX_SECONDS, Row
from ds2cli.text.profiles import is_language_tag

MAX_SHOWN = 80
"""Characters that a message shows of the names of all columns."""

USUAL_COLUMNS = {
    "audio": (
        *("audio_filepath", "path", "audio", "audio_path", "audio_file", "wav_filename", "wav_path", "file_name"),
        *("filename", "file", "file_path", "filepath", "wav", "wav_file", "clip", "recording"),
    ),
    "text": ("sentence", "text", "transcript", "transcription", "normalized_text", "txt", "wrd", "words"),
    "id": ("id", "utt_id", "utt", "utterance_id", "key"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk", "spk_id"),
}
_LONGEST_ID = 100
"""A longer id does not name a dropped row: it is probably a text."""

LANGUAGE_COLUMNS = ("lang", "locale", "language")
"""Columns whose codes, such as tr, are the languages of the rows; names of languages are not used."""

CHANNEL_LETTERS = ("A", "B")
"""The sides of a call, as telephone corpora write them."""

LJSPEECH_COLUMNS = {"audio": "0", "text": "2", "id": "0", "speaker": None}

Columns = dict[str, str | None]


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
    """Yield a row for each row of the table."""
    finder = AudioFinder(source, config.audio_dir)
    lines = io.read_lines(source)
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        raise DataError(f"{source}: the file is empty, expected a table")
    lines = chain([first], lines)
    if first[1].lstrip().startswith(("{", "[")):
        records, columns = read_json(lines), _named_columns(config)
    else:
        records, columns = _open_separated(lines, config, source)
    rows: list[tuple[Row, str]] = []
    try:
        for number, cells in records:
            location = f"{source}:{number}"
            try:
                rows.append(_make_row(cells, columns, finder, config, source))
            except BadUtterance as e:
                ledger.drop(_id(cells, columns) or location, e.reason, f"{location}: {e.detail}")
    except (ValueError, RecursionError) as e:
        line = f":{e.lineno}" if isinstance(e, json.JSONDecodeError) else ""
        raise DataError(f"{source}{line}: not JSON: {explain_json_error(e)}") from e
    if not rows and not ledger.dropped:
        raise DataError(f"{source}: the table has no rows")
    _make_ids([(row, audio) for row, audio in rows if not row["id"]], ledger)
    yield from (row for row, _ in rows)


def _make_ids(rows: list[tuple[Row, str]], ledger: Ledger) -> None:
    """Give rows without an id one that is made from the audio path, and from the offset of a segment."""
    paths = [os.path.normpath(audio) for _, audio in rows]
    ids = unique_ids(paths)
    for (row, _), name in zip(rows, ids, strict=True):
        row["id"] = segment_id(name, row)
    note_hashes(paths, ids, ledger)


def _named_columns(config: Options) -> Columns:
    return {kind: getattr(config, f"{kind}_column") for kind in USUAL_COLUMNS}


def _open_separated(lines: Iterator[tuple[int, str]], config: Options, source: str) -> tuple[Iterator[Record], Columns]:
    """The rows of a table of separated values, and the name of the column of each kind."""
    named = _named_columns(config)
    wanted = {name for names in USUAL_COLUMNS.values() for name in names}
    wanted |= {normalize_name(name) for name in named.values() if name is not None}
    table = Separated.open(lines, lambda name: normalize_name(name) in wanted)
    head, numbers = table.head, [str(i) for i in range(len(table.head))]
    from_head = False
    if any(normalize_name(name) in wanted for name in head):
        # spreadsheets write empty columns behind the last one
        names = head[: max(i for i, name in enumerate(head, start=1) if name)]
        columns = {kind: _find_column(kind, name, names, source) for kind, name in named.items()}
        for kind in ("audio", "text") if config.text else ("audio",):
            if columns[kind] is None:
                fix = f"--{kind}-column NAME{', or --no-text' if kind == 'text' else ''}"
                raise UsageError(f"{source}: no column has a usual name for the {kind}: {_list(head)} ({fix})")
    elif table.delimiter == "|" and len(head) > 1 and head[0] and not any(named.values()):
        columns = {**LJSPEECH_COLUMNS, "text": str(min(2, len(head) - 1))}
        names, from_head = numbers, True
    elif named["audio"] in numbers:
        names, from_head, columns = numbers, True, named
        for kind, name in columns.items():
            if name is not None and name not in names:
                raise UsageError(f"--{kind}-column {name}: no such column, {source} has {', '.join(names)}")
    else:
        raise UsageError(
            f"{source}:{table.first[0]}: no column has a usual name: {_list(head)} (name them, such as --audio-column "
            "path --text-column sentence, or give their numbers from 0 if the table has no header)"
        )
    return table.records(names, names.index(columns["audio"] or ""), from_head=from_head), columns


def _find_column(kind: str, name: str | None, head: list[str], source: str) -> str | None:
    """The column of a kind: the one that an option names, else the first one with a usual name."""
    usual = USUAL_COLUMNS[kind] if name is None else (name,)
    matches = next(filter(None, (_matches(wanted, head) for wanted in usual)), [])
    if not matches and name is not None:
        raise UsageError(f"--{kind}-column {name}: no such column, {source} has {', '.join(head)}")
    if len(matches) > 1:
        raise UsageError(f"{source}: several columns are named {matches[0]!r}: rename all but the one of the {kind}")
    return matches[0] if matches else None


def _matches(name: str, head: list[str]) -> list[str]:
    """The columns of a name: written exactly so, else in other case or with spaces."""
    return [c for c in head if c == name] or [c for c in head if normalize_name(c) == normalize_name(name)]


def _list(head: list[str]) -> str:
    shown = repr(", ".join(head))
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}…"


def _cell(cells: Cells, columns: Columns, kind: str) -> Any:
    name = columns[kind]
    names = (name,) if name is not None else USUAL_COLUMNS[kind]
    return next((cells[n] for n in names if not _is_missing(cells.get(n))), None)


def _is_missing(value: Any) -> bool:
    # not a number: a missing value of pandas
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _id(cells: Cells | BadUtterance, columns: Columns) -> str:
    if isinstance(cells, BadUtterance):
        return ""
    given, audio = _cell(cells, columns, "id"), _cell(cells, columns, "audio")
    name = given or (id_from_path(Path(audio)) if isinstance(audio, str) and is_file_name(audio) else "")
    is_name = isinstance(name, str) and len(name) <= _LONGEST_ID
    return name.encode("utf-8", "replace").decode() if is_name else ""


def _seconds(cells: Cells, name: str) -> float:
    value = cells.get(name)
    try:
        seconds = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds <= MAX_SECONDS:
        detail = f"the {name} must be seconds from 0 to {MAX_SECONDS:g}, got {json.dumps(value)[:40]}"
        raise BadUtterance("wrong-type", detail)
    return seconds


def _channel(value: Any) -> int:
    text = value.strip().upper() if isinstance(value, str) else value
    if text in CHANNEL_LETTERS:
        return CHANNEL_LETTERS.index(text)
    try:
        # pandas writes 1.0 where another row has no channel
        number = -1.0 if isinstance(value, bool) else float(text)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if number < 0 or not number.is_integer():
        raise BadUtterance(
            "wrong-type", f"the channel must be a number from 0, or A or B, got {json.dumps(value)[:40]}"
        )
    return int(number)


def _make_row(
    cells: Cells | BadUtterance, columns: Columns, finder: AudioFinder, config: Options, source: str
) -> tuple[Row, str]:
    """The row and its audio path as written; the id is empty if the table has none."""
    if isinstance(cells, BadUtterance):
        raise cells
    values = {kind: _cell(cells, columns, kind) for kind in USUAL_COLUMNS}
    for kind, value in values.items():
        if kind in ("id", "speaker") and isinstance(value, int) and not isinstance(value, bool):
            values[kind] = str(value)
        elif value is not None and not isinstance(value, str):
            raise BadUtterance("wrong-type", f"the {kind} must be a string, got {json.dumps(value)[:40]}")
        elif value is not None and (error := explain_undecodable(value, source)):
            raise BadUtterance("not-utf8", f"the {kind} is {error}")
    if values["audio"] is None:
        raise BadUtterance("no-audio-filepath", "the audio path is missing or empty")
    if values["text"] and has_audio_ending(values["text"]) and not finder.looks_like_audio(values["audio"]):
        detail = f"the text is {values['text'][:80]!r}: are the columns of the audio path and the text exchanged?"
        raise BadUtterance("no-text", f"{detail} (--audio-column, --text-column)")
    row: Row = {"id": values["id"] or "", "audio_filepath": str(finder.expect(values["audio"]))}
    if config.text:
        if values["text"] is None:
            raise BadUtterance("no-text", "the text is missing or empty")
        row["text"] = values["text"]
    if values["speaker"] is not None:
        row["speaker"] = values["speaker"]
    codes = (cells[name] for name in LANGUAGE_COLUMNS if isinstance(cells.get(name), str))
    row["lang"] = next((code for code in codes if is_language_tag(code)), config.lang)
    if not _is_missing(cells.get("channel")):
        row["channel"] = _channel(cells["channel"])
    if not _is_missing(cells.get("offset")):
        row["offset"], row["duration"] = _seconds(cells, "offset"), _seconds(cells, "duration")
    return row, values["audio"]
