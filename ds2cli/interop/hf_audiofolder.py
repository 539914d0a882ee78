"""Hugging Face's audiofolder, which `datasets.load_dataset` reads: recordings and metadata.jsonl or metadata.csv.

Import     SRC is the folder. `file_name` in metadata is relative to its folder; texts are in `transcription`, `text`,
           `sentence` or `transcript`. Metadata in folders such as train and test makes rows with that `split`. Rows
           without an id get one made from file_name; other columns become fields.
Dropped    Rows without a file_name, without the recording, with a wrong number of columns, and repeated ids.
Export     metadata.jsonl and audio/, with links to the recordings (--copy copies them). Segments, single channels and
           formats that the library does not read are written as FLAC or WAV files. What the columns do not hold is in
           the column `ds2`, as JSON in a string.

Example: ds2 data import hf-audiofolder my_dataset all.jsonl

Example: ds2 data export hf-audiofolder all.jsonl my_dataset --copy
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ds2cli import io
from ds2cli.config.interop import AudioFolderExport, ImportConfig
from ds2cli.corpora._table import Record, Separated, read_json
from ds2cli.drops import Ledger
from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance, DataError
from ds2cli.interop._audiofolder_row import FILE_NAME, NUMBERS, make_row, parse_kept
from ds2cli.interop._audiofolder_write import FILES, MAIN, write
from ds2cli.interop._extra import restore
from ds2cli.interop._found import Found, Item, order_fields
from ds2cli.interop._made_ids import add_ids
from ds2cli.json_lines import explain_json_error

__all__ = ["FILES", "MAIN", "ExportOptions", "ImportOptions", "read", "write"]

ImportOptions = ImportConfig
ExportOptions = AudioFolderExport

METADATA = ("metadata.jsonl", "metadata.csv")


def read(source: str, config: ImportConfig, ledger: Ledger) -> Found:
    """The rows of the metadata of a folder and of the folders in it."""
    if not Path(source).is_dir():
        raise DataError(f"{source}: no such folder, expected one with metadata.jsonl or metadata.csv")
    files = _find_metadata(Path(source))
    return Found(add_ids(_read_all(source, files, ledger), ledger))


def _find_metadata(folder: Path) -> list[Path]:
    """The metadata files of a folder and of its splits. DataError if there are none."""
    folders = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    folders += [p for base in folders if base.name == "data" for p in sorted(base.iterdir()) if p.is_dir()]
    files = []
    for base in folders:
        found = [base / name for name in METADATA if (base / name).is_file()]
        if len(found) > 1:
            raise DataError(f"{base}: {found[0].name} and {found[1].name}: expected one of them")
        files += found
    if not files:
        parquet = next((p for base in folders for p in sorted(base.glob("*.parquet"))), None)
        hint = f" ({parquet.name} is a Parquet file: datasets' to_json writes it as JSON Lines)" if parquet else ""
        raise DataError(f"{folder}: no metadata.jsonl or metadata.csv in this folder or in the folders in it{hint}")
    return files


def _read_all(source: str, files: Iterable[Path], ledger: Ledger) -> Iterator[Item]:
    for path in files:
        # the folder that SRC is has no name of a split
        split = "" if path.parent == Path(source) else path.parent.name
        for number, cells in _records(path):
            location = f"{path}:{number}"
            try:
                if isinstance(cells, BadUtterance):
                    raise cells
                for value in cells.values():
                    if isinstance(value, str) and (error := explain_undecodable(value, str(path))):
                        raise BadUtterance("not-utf8", error)
                row = make_row(cells, str(path.parent), split)
                kept = parse_kept(cells)
            except BadUtterance as e:
                ledger.drop(_name_of(cells) or location, e.reason, f"{location}: {e.detail}")
                continue
            yield (row, False) if kept is None else (order_fields(_restore(row, kept, str(path.parent))), True)


def _restore(row: dict[str, Any], kept: dict[str, Any], folder: str) -> dict[str, Any]:
    """The row that was exported; that of the copy, if its recording is not there any more."""
    found = restore(row, kept.get("extra", {}))
    original = kept.get("audio_filepath")
    if isinstance(original, str):
        path = original if os.path.isabs(original) else os.path.normpath(os.path.join(folder, original))
        if Path(path).is_file():
            return {**restore(found, kept.get("original", {})), "audio_filepath": path}
    return found


def _records(path: Path) -> Iterator[Record]:
    """The rows of a metadata file with their numbers."""
    lines = ((number, line) for number, line in io.read_lines(str(path)) if line.strip())
    if path.suffix == ".jsonl":
        try:
            yield from read_json(lines)
        except (ValueError, RecursionError) as e:
            line = f":{e.lineno}" if isinstance(e, json.JSONDecodeError) else ""
            raise DataError(f"{path}{line}: not JSON: {explain_json_error(e)}") from e
        return
    table = Separated.open(lines, lambda name: name.strip().endswith(FILE_NAME))
    names = table.head
    audio = next((i for i, name in enumerate(names) if name == FILE_NAME), None)
    if audio is None:
        raise DataError(f"{path}: no column {FILE_NAME}, but {', '.join(names)[:80]}")
    for number, cells in table.records(names, audio):
        if not isinstance(cells, BadUtterance):
            # a table has no types, and an empty cell is no value
            cells = {name: _typed(name, value) for name, value in cells.items() if value != ""}
        yield number, cells


def _typed(name: str, value: str) -> Any:
    kind = NUMBERS.get(name)
    try:
        return value if kind is None else kind(value)
    except ValueError:
        return value


def _name_of(cells: Any) -> str:
    name = cells.get("id", cells.get(FILE_NAME)) if isinstance(cells, dict) else None
    return name if isinstance(name, str) and name.isprintable() else ""
