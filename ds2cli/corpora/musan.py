"""MUSAN: 109 hours of noise, music and speech to mix in.

What       The manifest is for `noise` in the section [augment] of ds2 train: its rows have no text. All is at 16 kHz.
License    Creative Commons and public domain, as the LICENSE files in the folders say (Snyder et al., 2015).
Source     OpenSLR 17; SRC is the folder "musan" that its archive unpacks to. --download fetches it (11 GB), verifies
           its checksum and unpacks it; after an interruption the same command continues.
Layout     noise/free-sound/noise-free-sound-0000.wav, music/fma/…, speech/librivox/…: --part selects noise (6 hours:
           technical and ambient sounds, no voices), music (43 hours) and speech (60 hours: makes babble). The files
           ANNOTATIONS say which music has singing (lines `music-fma-0000 GENRES Y ARTIST`): --no-vocals leaves it out.
Split      By the SHA-1 hash of the id, modulo 10: 0 is dev, 1 is test, 2 … 9 are train; it never changes. Noise of a
           test set should be of its own part (--split).
Dropped    Folders that cannot be read and, not counted as bad, music that --no-vocals leaves out.

Example: ds2 prepare musan musan data/noise.jsonl --part noise,music --split train --download
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ds2cli import io
from ds2cli.audio.find import walk_files
from ds2cli.config.base import setting
from ds2cli.config.prepare import DownloadOptions, PrepareConfig
from ds2cli.corpora._download import SILENT, Archive, Report, fetch_archives
from ds2cli.corpora._layout import require_layout
from ds2cli.corpora._split import assign_split
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.manifest import Row

PARTS = ("noise", "music", "speech")
_LIST = "ANNOTATIONS"
ARCHIVE = Archive("17/musan.tar.gz", "0c472d4fc0c5141eca47ad1ffeb2a7df", "musan", "speech", unpacked_ratio=1.2)


@dataclass(frozen=True, kw_only=True)
class Options(DownloadOptions, PrepareConfig):
    """Settings of MUSAN."""

    text: ClassVar[bool] = False

    part: str = setting("noise", help="Kinds of recordings: noise, music, speech, separated by commas, or all.")
    vocals: bool = setting(True, help="Also take music with singing.")
    split: Literal["all", "train", "dev", "test"] = setting("all", help="Part of the recordings.")


def fetch(source: str, config: Options, report: Report = SILENT) -> None:
    """Download the archive unless it is unpacked in `source`."""
    if config.download:
        fetch_archives(source, [ARCHIVE], config.mirror, report)


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each recording of the kinds in `config.part` and of the part `config.split`."""
    wanted = PARTS if config.part == "all" else tuple(name.strip() for name in config.part.split(","))
    if unknown := [name for name in wanted if name not in PARTS]:
        raise UsageError(f"--part {','.join(unknown)}: expected {', '.join(PARTS)} or all")
    folder = require_layout(source, "musan", wanted, "--download fetches it")
    for part in dict.fromkeys(wanted):
        yield from _rows(folder / part, part, config, ledger)


def _rows(folder: Path, part: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    files, left = walk_files(folder)
    for item in left:
        ledger.drop_error(str(item.path), item.error, bad=item.bad)
    recordings = [path for path in files if path.suffix.lower() == ".wav"]
    if not recordings:
        raise DataError(f"{folder}: no recordings such as free-sound/noise-free-sound-0000.wav (unpack it again)")
    sung = _read_sung(files) if part == "music" and not config.vocals else set()
    for path in recordings:
        if path.stem in sung:
            ledger.drop(path.stem, "vocals", f"{path.with_name(_LIST)} says that {path.name} has singing", bad=False)
            continue
        split = assign_split(path.stem)
        if config.split in ("all", split):
            yield {"id": path.stem, "audio_filepath": str(path), "kind": part, "split": split}


def _read_sung(files: list[Path]) -> set[str]:
    """The ids of music with singing."""
    lists = [path for path in files if path.name == _LIST]
    rows = (line.split() for path in lists for _, line in io.read_lines(str(path)))
    return {row[0] for row in rows if len(row) > 2 and row[2] == "Y"}
