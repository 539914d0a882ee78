"""Write an audiofolder of Hugging Face."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path
from typing import Any

from ds2cli.audio.read import probe
from ds2cli.config.interop import AudioFolderExport
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.interop._audiofolder_row import COLUMNS, FILE_NAME, KEPT, make_row
from ds2cli.interop._extra import difference
from ds2cli.interop._segments import write_segment
from ds2cli.io import open_out
from ds2cli.manifest import Row

MAIN = "metadata.jsonl"
FILES = (MAIN, "metadata.csv", "audio")

FILES_IN_FOLDER = 1000
"""The library and file systems get slow with many thousands."""

BLOCK = 256
"""Rows given to the threads at a time."""

READABLE = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".au", ".caf", ".mp4", ".w64")
"""Endings of recordings that are linked or copied; others are decoded."""


def write(open_rows: Callable[[Ledger], Iterator[Row]], folder: str, config: AudioFolderExport, ledger: Ledger) -> None:
    """Write metadata.jsonl, after the recordings in audio/."""
    rows, numbers, segments = open_rows(ledger), count(), 0

    def place(numbered: tuple[int, Row]) -> str | BadUtterance:
        try:
            return _place(*numbered, folder, config)
        except BadUtterance as e:
            return e

    with open_out(os.path.join(folder, MAIN)) as f, ThreadPoolExecutor(config.nj) as pool:
        spread = pool.map if config.nj > 1 else map
        while block := list(islice(zip(numbers, rows, strict=False), BLOCK)):
            for (_, row), placed in zip(block, spread(place, block), strict=True):
                if isinstance(placed, BadUtterance):
                    ledger.drop_error(row["id"], placed)
                    continue
                f.write(json.dumps(make_cells(row, placed, folder), ensure_ascii=False, separators=(",", ":")) + "\n")
                ledger.kept += 1
                segments += _is_part(row)
    if segments:
        ledger.notes.append(f"{segments} segments or single channels are stored as files of their own")


def make_cells(row: Row, name: str, folder: str) -> dict[str, Any]:
    """The line of metadata of a row. name: of its recording, relative to the folder."""
    cells: dict[str, Any] = {FILE_NAME: name}
    for field, column in COLUMNS.items():
        value = row.get(field)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            cells[column] = float(value)
        elif isinstance(value, str):
            cells[column] = value
    derived = make_row(cells, folder, "")
    # a file of its own has no offset and no channel; the recording itself has them, and is used while it is there
    original = {name: row[name] for name in ("offset", "channel") if name in row}
    path = row["audio_filepath"]
    kept: dict[str, Any] = {"audio_filepath": path if os.path.isabs(path) else os.path.relpath(path, folder)}
    if original:
        kept["original"] = {"add": original}
    own = {name: value for name, value in row.items() if name not in original}
    if extra := difference({**own, "audio_filepath": derived["audio_filepath"]}, derived):
        kept["extra"] = extra
    return {**cells, KEPT: json.dumps(kept, ensure_ascii=False, separators=(",", ":"))}


def _place(number: int, row: Row, folder: str, config: AudioFolderExport) -> str:
    """Link, copy or write the recording of a row; return its name in the folder."""
    source = row.get("audio_filepath")
    if not source:
        raise BadUtterance("no-audio-filepath", "the field 'audio_filepath' is missing")
    if not os.path.isfile(source):
        raise BadUtterance("missing-audio", f"no file {source}")
    suffix = Path(source).suffix.lower()
    is_part = _is_part(row) and not ("offset" not in row and probe(source, decode=False).channels == 1)
    is_decoded = is_part or suffix not in READABLE
    ending = f".{config.format}" if is_decoded else suffix
    name = f"audio/{number // FILES_IN_FOLDER:04d}/{row['id'].replace('/', '_')}{ending}"
    target = os.path.join(folder, name)
    try:
        if is_decoded:
            write_segment(row, target)
        else:
            _link(source, target, config.copy)
    except OSError as e:
        raise DataError(f"{target}: cannot be written: {e.strerror}") from e
    return name


def _is_part(row: Row) -> bool:
    return "offset" in row or "channel" in row


def _link(source: str, path: str, copy: bool) -> None:
    """Let `path` be a link to the source, or a copy where links are not possible or not wanted."""
    link, target = os.path.abspath(source), Path(path)
    if not copy:
        with contextlib.suppress(OSError):
            # of a new export; otherwise the file of an earlier one is replaced at once
            target.symlink_to(link)
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{os.getpid()}.part.{target.name}")
    temporary.unlink(missing_ok=True)
    try:
        if copy:
            raise OSError
        temporary.symlink_to(link)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)
