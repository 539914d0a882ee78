"""One JSON document per recording, in the layout of Whisper and WhisperX: `text`, `segments`, and their `words`.

The confidence of a word is `score`, as in WhisperX.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ds2cli.captions.phrases import make_phrases

ENDING = ".json"
FROM_ROW = {"audio_filepath": "audio_filepath", "duration": "duration", "lang": "language", "gaps": "gaps"}
"""Fields of a row that the document has, and their names in it."""


def make_document(row: Mapping[str, Any], words: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The document of a recording. row: with `id`, and with the fields of FROM_ROW and `chars` that are known."""
    phrases = make_phrases(words, row.get("chars", ()))
    segments = [
        {
            "id": number,
            "start": phrase[0]["start"],
            "end": max(word["end"] for word in phrase),
            "text": _join(phrase),
            "words": [_as_field(word) for word in phrase],
        }
        for number, phrase in enumerate(phrases)
    ]
    known = {
        name: row[field] for field, name in FROM_ROW.items() if isinstance(row.get(field), str | float | int | list)
    }
    return {"id": row["id"], **known, "text": _join(words), "segments": segments}


def format_document(document: Mapping[str, Any]) -> str:
    """A document as text, its fields on lines of their own."""
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
    # half of a surrogate pair cannot be written as UTF-8
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def _as_field(word: Mapping[str, Any]) -> dict[str, Any]:
    field = {name: word[name] for name in ("word", "start", "end")}
    return {**field, "score": word["conf"]} if "conf" in word else field


def _join(words: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(word["word"] for word in words)
