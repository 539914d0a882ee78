"""LJ Speech: 24 hours of English non-fiction by one speaker.

What       13,100 sentences and parts of sentences of seven books, read aloud, at 22.05 kHz.
License    Public domain (Keith Ito and Linda Johnson).
Source     LJSpeech-1.1.tar.bz2 of keithito.com; SRC is the folder "LJSpeech-1.1" that it unpacks to.
Layout     wavs/ID.wav, and metadata.csv with lines `ID|text|normalized text`, in which a quotation mark is an ordinary
           character. The normalized text, in which numbers and abbreviations are written out, is taken.
Dropped    Lines with another number of columns, lines without a recording, and recordings without a line.

Example: ds2 prepare ljspeech LJSpeech-1.1 data/all.jsonl
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ds2cli import io
from ds2cli.audio.find import walk_files
from ds2cli.config.prepare import PrepareConfig
from ds2cli.config.text import TextOptions
from ds2cli.corpora._layout import require_layout
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.manifest import Row

TABLE = "metadata.csv"
COLUMNS = "ID|text|normalized text"
SPEAKER = "LJ"


@dataclass(frozen=True, kw_only=True)
class Options(TextOptions, PrepareConfig):
    """Settings of LJ Speech."""


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each line of the table with a recording."""
    folder = require_layout(source, "LJSpeech-1.1", ("wavs", TABLE))
    files, left = walk_files(folder / "wavs")
    for item in left:
        ledger.drop_error(str(item.path), item.error, bad=item.bad)
    recordings = {path.stem: path for path in files if path.suffix.lower() == ".wav"}
    listed = set()
    table = folder / TABLE
    for number, line in io.read_lines(str(table)):
        if not line.strip():
            continue
        place, cells = f"{table}:{number}", [cell.strip() for cell in line.split("|")]
        if len(cells) != COLUMNS.count("|") + 1 or not cells[0]:
            ledger.drop(place, "wrong-columns", f"{place}: {len(cells)} columns, expected {COLUMNS}")
            continue
        name, _, text = cells
        listed.add(name)
        if name not in recordings:
            ledger.drop(name, "missing-audio", f"{place}: no {name}.wav in wavs")
            continue
        yield {"id": name, "audio_filepath": str(recordings[name]), "text": text, "speaker": SPEAKER, "lang": "en"}
    if not listed:
        raise DataError(f"{table}: no lines {COLUMNS}, expected one for each recording (unpack the archive again)")
    for name in sorted(recordings.keys() - listed):
        ledger.drop(name, "no-text", f"{recordings[name]} has no line in {TABLE}")
