"""The row of a line of metadata of an audiofolder."""

from __future__ import annotations

import json
import os
from typing import Any

from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row

FILE_NAME = "file_name"
TEXT = "transcription"
"""The column that an export writes texts to; an import also takes the others."""

TEXTS = (TEXT, "text", "sentence", "transcript")

COLUMNS = {"id": "id", "text": TEXT, "speaker": "speaker", "lang": "lang", "duration": "duration", "split": "split"}
"""Columns of an export by the fields that they hold: all of one type, which the library requires."""

KEPT = "ds2"
"""The column with what the others do not hold: JSON in a string, as its fields may have different types."""

NUMBERS = {"duration": float, "offset": float, "sample_rate": int, "channel": int, "num_frames": int, "speed": float}
"""Columns of a table that hold numbers."""


def make_row(cells: dict[str, Any], folder: str, split: str) -> Row:
    """The row that the columns give. folder: of the metadata.  BadUtterance if it names no recording."""
    name = cells.get(FILE_NAME)
    if not isinstance(name, str) or not name:
        raise BadUtterance("no-audio-filepath", f"the column {FILE_NAME} is missing or empty")
    row: Row = {}
    if cells.get("id") not in (None, ""):
        row["id"] = str(cells["id"])
    row["audio_filepath"] = os.path.normpath(os.path.join(folder, name))
    text = next((column for column in TEXTS if cells.get(column) is not None), None)
    if text is not None:
        row["text"] = cells[text]
    if split:
        row["split"] = split
    for column, value in cells.items():
        if column not in ("id", FILE_NAME, text, KEPT) and value is not None and column not in row:
            row[column] = value
    if isinstance(row.get("speaker"), int) and not isinstance(row["speaker"], bool):
        row["speaker"] = str(row["speaker"])
    return row


def parse_kept(cells: dict[str, Any]) -> dict[str, Any] | None:
    """What an export has kept of a row; None if ds2 has not written it."""
    text = cells.get(KEPT)
    if not isinstance(text, str):
        return None
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return kept if isinstance(kept, dict) else None
