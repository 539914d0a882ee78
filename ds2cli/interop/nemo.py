"""NeMo's manifests: JSON Lines with audio_filepath, duration, text, and optionally offset, lang and speaker.

Import     SRC is the file, `.gz` works, or a folder with manifest.json. A null offset is no offset. Texts stay as they
           are (`ds2 data fix` normalizes them). Rows without an id get one made from the path of the recording; other
           fields are kept. Relative paths are relative to the manifest, or to a folder near it. Manifests of tar files
           (shard_id) are refused.
Dropped    Lines that are no JSON object, or have values of a wrong type or no recording, and repeated ids.
Export     manifest.json. NeMo ignores the fields that it does not know, so nothing is lost.

Example: ds2 data import nemo train_manifest.json train.jsonl

Example: ds2 data export nemo train.jsonl nemo/train
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ds2cli import inputs, io, manifest
from ds2cli.config.interop import ImportConfig, NemoExport
from ds2cli.corpora._audio_finder import AudioFinder
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.interop._found import Found, Item
from ds2cli.interop._made_ids import add_ids
from ds2cli.manifest import Row

ImportOptions = ImportConfig
ExportOptions = NemoExport

MAIN = "manifest.json"
FILES = (MAIN,)

_AUDIO_NAMES = ("audio_filename", "audio_file")
"""Other names of `audio_filepath` that NeMo reads."""

_ID_FIRST = re.compile(r'\{"id": ?"([^"\\]+)"')
_TARRED = re.compile(r"_OP_|\{\d+\.\.\d+\}")
"""Names of several files, `manifest__OP_0..15_CL_.json`."""


def read(source: str, config: ImportConfig, ledger: Ledger) -> Found:
    """The rows of a manifest."""
    path = os.path.join(source, MAIN) if Path(source).is_dir() else source
    if _TARRED.search(path):
        raise _tarred(path, "the name stands for several files")
    if path != "-" and not os.path.exists(path):  # noqa: PTH110
        raise DataError(f"{path}: no such file, expected a manifest of NeMo")
    finder = AudioFinder(path, None) if config.check == "header" else None
    return Found(add_ids(_read_rows(path, finder, ledger), ledger), in_order=_is_in_order(path))


def _read_rows(path: str, finder: AudioFinder | None, ledger: Ledger) -> Iterator[Item]:
    folder, found = manifest.base_folder(path), False
    for location, line in manifest.read_lines(path):
        found = True
        try:
            row = manifest.parse(line, ())
            if "shard_id" in row:
                raise _tarred(location, "it has the field 'shard_id'")
            row = _rename(row)
            _add_text(row, folder)
            if not row.get("audio_filepath") and "id" not in row:
                raise BadUtterance("no-audio-filepath", "the field 'audio_filepath' is missing")
        except BadUtterance as e:
            ledger.drop(_name_of(line) or location, e.reason, f"{location}: {e.detail}")
            continue
        name, row = row.get("audio_filepath"), manifest.rebase_paths(row, folder)
        if finder and name and not os.path.isfile(row["audio_filepath"]) and (other := finder.find(name)):
            row["audio_filepath"] = str(other)
        yield row, "id" in row and "duration" in row
    if not found:
        raise DataError(f"{path}: the file is empty, expected a manifest of NeMo")


def _rename(row: Row) -> Row:
    for name in _AUDIO_NAMES:
        if isinstance(row.get(name), str) and "audio_filepath" not in row:
            return {"audio_filepath" if n == name else n: value for n, value in row.items()}
    return row


def _add_text(row: Row, folder: str) -> None:
    """Read the text of a row that names a file with it."""
    name = row.get("text_filepath")
    if "text" in row or not isinstance(name, str):
        return
    path = os.path.join(folder, name)
    try:
        inputs.require_file(path)
        row["text"] = "\n".join(line for _, line in io.read_lines(path)).strip()
    except (OSError, ValueError, DataError) as e:
        reason = inputs.explain_error(e) if isinstance(e, OSError) else str(e)
        raise BadUtterance("no-text", f"{path}: {reason}") from e
    del row["text_filepath"]


def _name_of(line: str) -> str:
    name = _ID_FIRST.match(line)
    return name[1] if name and name[1].isprintable() else ""


def _is_in_order(path: str) -> bool:
    """Whether each line begins with its id, and they are in order: then no row has to be held."""
    if path == "-" or inputs.is_stream(path):
        return False
    last = ""
    for _, line in manifest.read_lines(path):
        name = _ID_FIRST.match(line)
        if name is None or name[1] < last:
            return False
        last = name[1]
    return True


def _tarred(location: str, why: str) -> DataError:
    return DataError(
        f"{location}: a manifest of tar files, {why}: expected recordings in files of their own "
        "(import the manifest that the tar files were made from)"
    )


def write(open_rows: Callable[[Ledger], Iterator[Row]], folder: str, config: NemoExport, ledger: Ledger) -> None:
    """Write manifest.json."""
    manifest.write(os.path.join(folder, MAIN), _usable_rows(open_rows(ledger), config, ledger))


def _usable_rows(rows: Iterator[Row], config: NemoExport, ledger: Ledger) -> Iterator[Row]:
    channels = speeds = 0
    for row in rows:
        try:
            if not row.get("audio_filepath"):
                raise BadUtterance("no-audio-filepath", "the field 'audio_filepath' is missing, which NeMo needs")
            if not row.get("duration"):
                raise BadUtterance("no-duration", "NeMo needs the duration of each row (ds2 prepare states it)")
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        channels += "channel" in row
        speeds += row.get("speed", 1.0) != 1.0
        ledger.kept += 1
        yield row if config.paths == "relative" else _absolute(row)
    if channels:
        ledger.notes.append(f"{channels} rows are of one channel: NeMo has the setting channel_selector for all rows")
    if speeds:
        ledger.notes.append(f"{speeds} rows have another speed than their recording, which NeMo has no field for")


def _absolute(row: Row) -> Row:
    return manifest.map_paths(row, os.path.abspath)
