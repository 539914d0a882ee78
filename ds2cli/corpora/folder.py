"""Your own recordings: a folder of audio files, each with a text file of the same name.

What       Anything in a format that `ds2` reads (WAV, FLAC, MP3, Opus, …); the license is yours.
Source     SRC is the folder; subfolders are searched too.
Layout     `2024/call 7.wav` has its text in `2024/call 7.txt`. Its id, 2024-call_7, is made from its path in SRC.
           `--no-text` accepts recordings without texts, for decoding.
Dropped    Recordings without a text, and texts that are not UTF-8 or contain digits (unless `--numbers spell`).

Example: ds2 prepare folder recordings/ data/all.jsonl --numbers spell
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ds2cli.audio.read import find_audio
from ds2cli.config.prepare import PrepareConfig, TranscriptOptions
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.manifest import Row


@dataclass(frozen=True, kw_only=True)
class Options(TranscriptOptions, PrepareConfig):
    """Settings of a folder of recordings."""


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each recording."""
    folder = Path(source)
    if not folder.is_dir():
        raise DataError(f"{source}: no such folder")
    is_empty = True
    for path in find_audio(folder):
        is_empty = False
        row: Row = {"id": id_from_path(path.relative_to(folder)), "audio_filepath": str(path), "lang": config.lang}
        if config.text:
            try:
                row["text"] = _read_text(path.with_suffix(".txt"))
            except BadUtterance as e:
                ledger.drop_error(row["id"], e)
                continue
        yield row
    if is_empty:
        raise DataError(f"{source}: no audio files in this folder: expected .wav, .flac, .mp3, …")


def id_from_path(path: Path) -> str:
    """An id made from a path: without its extension, `-` between folders, `_` for whitespace."""
    return re.sub(r"\s+", "_", "-".join(part for part in path.with_suffix("").parts if part not in ("/", "..")))


def _read_text(path: Path) -> str:
    try:
        # utf-8-sig: skip the byte order mark that some Windows editors write
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise BadUtterance("no-text", f"no text file {path}") from None
    except UnicodeDecodeError as e:
        raise BadUtterance("not-utf8", f"{path}: byte {e.start} is not UTF-8 (iconv -f latin1 -t utf-8)") from e
    except OSError as e:
        raise BadUtterance("no-text", f"{path}: {(e.strerror or str(e)).lower()}") from e
