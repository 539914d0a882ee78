"""Your own recordings: audio files below a folder, each with its text beside it in a file of the same name with .txt.

`--no-text` takes the recordings alone, for decoding. The id is the path in the folder: "2024/call 7.wav" becomes
2024-call_7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ds2cli.audio.read import find
from ds2cli.config.prepare import PrepareConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.manifest import Row

OPTIONS = ("lang", "text", "numbers")


def prepare(source: str, config: PrepareConfig, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each recording."""
    folder = Path(source)
    if not folder.is_dir():
        raise DataError(f"{source}: no such folder")
    found = False
    for path in find(folder):
        found = True
        row: Row = {"id": name_of(path.relative_to(folder)), "audio_filepath": str(path), "lang": config.lang}
        if config.text:
            try:
                row["text"] = _text(path.with_suffix(".txt"))
            except BadUtterance as e:
                ledger.drop_error(row["id"], e)
                continue
        yield row
    if not found:
        raise DataError(f"{source}: no audio file below it, expected .wav, .flac, .mp3, …")


def name_of(path: Path) -> str:
    """An id made from a path: without its ending, `-` between folders, `_` for white space."""
    return re.sub(r"\s+", "_", "-".join(part for part in path.with_suffix("").parts if part not in ("/", "..")))


def _text(path: Path) -> str:
    try:
        # utf-8-sig: a byte order mark that an editor of Windows put there is not text
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise BadUtterance("no-text", f"no file {path}") from None
    except UnicodeDecodeError as e:
        raise BadUtterance("not-utf8", f"{path}: byte {e.start} is not UTF-8 (iconv -f latin1 -t utf-8)") from e
    except OSError as e:
        raise BadUtterance("no-text", f"{path}: {(e.strerror or str(e)).lower()}") from e
