"""AISHELL-1: 178 hours of read Mandarin by 400 speakers.

What       Sentences on many subjects, recorded in quiet rooms, at 16 kHz.
License    Apache 2.0 (Beijing Shell Shell Technology; Bu et al., O-COCOSDA 2017).
Source     OpenSLR 33; SRC is the folder "data_aishell" that data_aishell.tgz unpacks to. The recordings of each speaker
           are packed again in wav/S*.tar.gz. --download fetches (15 GB), verifies and unpacks what is not in SRC, also
           such packed speakers; after an interruption the same command continues.
Layout     wav/{train,dev,test}/S0002/BAC009S0002W0122.wav, and transcript/aishell_transcript_v0.8.txt with lines
           `BAC009S0002W0122 而 对 楼市 成交 抑制 作用 最 大 的 限 购`. --part selects train, dev or test.
Texts      The network writes characters (section 3.9 of the paper), and Mandarin has no spaces: those of the list,
           which separate its words, are removed beside Chinese characters.
Dropped    Texts without a recording and, not counted as bad, recordings without a text: the published list lacks some.

Example: ds2 prepare aishell data_aishell data/train.jsonl --part train --download
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ds2cli import io
from ds2cli.atomic import remove_abandoned_files
from ds2cli.audio.find import walk_files
from ds2cli.config.base import setting
from ds2cli.config.prepare import DownloadOptions, PrepareConfig
from ds2cli.config.text import TextOptions
from ds2cli.corpora._download import SILENT, Archive, Report, fetch_archives
from ds2cli.corpora._layout import require_layout
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.io import FolderLock
from ds2cli.manifest import Row
from ds2cli.text.spacing import remove_spaces

FOLDER = "data_aishell"
TEXTS = "transcript/aishell_transcript_v0.8.txt"
PARTS = ("train", "dev", "test")
ARCHIVE = Archive("33/data_aishell.tgz", "2f494334227864a8a8fec932999db9d8", FOLDER, "wav", unpacked_ratio=2.5)
_PACKED = ".tar.gz"


@dataclass(frozen=True, kw_only=True)
class Options(DownloadOptions, TextOptions, PrepareConfig):
    """Settings of AISHELL-1."""

    part: str = setting("all", help="Parts: train, dev, test, separated by commas, or all of those in SRC.")


def fetch(source: str, config: Options, report: Report = SILENT) -> None:
    """Download the archive unless it is unpacked in `source`, and unpack the speakers that are still packed there."""
    if not config.download:
        return
    fetch_archives(
        source, [ARCHIVE], config.mirror, report, lambda folder: _unpack_speakers(folder, report, keep=False)
    )
    _unpack_speakers(Path(source), report, keep=True)


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of the parts in `config.part`."""
    folder = require_layout(source, FOLDER, ("wav", TEXTS), "--download fetches it")
    _refuse_packed(folder)
    files, left = walk_files(folder / "wav")
    recordings = {path.stem: path for path in files if path.suffix.lower() == ".wav"}
    parts = {name: path.relative_to(folder / "wav").parts[0] for name, path in recordings.items()}
    available = sorted(set(parts.values()))
    wanted = set(available) if config.part == "all" else {name.strip() for name in config.part.split(",")}
    if missing := wanted - set(available):
        raise UsageError(f"--part {','.join(sorted(missing))}: not in {folder}/wav, which has {', '.join(available)}")
    for item in left:
        ledger.drop_error(str(item.path), item.error, bad=item.bad)
    listed = set()
    table = folder / TEXTS
    for number, line in io.read_lines(str(table)):
        name, _, text = line.strip().partition(" ")
        if not name:
            continue
        listed.add(name)
        if name not in recordings:
            ledger.drop(name, "missing-audio", f"{table}:{number}: no {name}.wav in {folder}/wav")
        elif parts[name] in wanted:
            row: Row = {
                "id": name,
                "audio_filepath": str(recordings[name]),
                "text": remove_spaces(" ".join(text.split())),
            }
            yield {**row, "speaker": recordings[name].parent.name, "lang": "zh", "split": parts[name]}
    if not listed:
        raise DataError(f"{table}: the list is empty, expected a line for each recording (unpack the archive again)")
    for name in sorted(recordings.keys() - listed):
        if parts[name] in wanted:
            ledger.drop(name, "no-text", f"{recordings[name]} has no line in {table.name}", bad=False)


def _find_packed(folder: Path) -> list[Path]:
    """The packed speakers, such as wav/S0002.tar.gz, that are not unpacked."""
    wav = folder / "wav"
    return [
        path
        for path in sorted(wav.glob(f"*{_PACKED}"))
        if not any((wav / part / path.name.removesuffix(_PACKED)).is_dir() for part in PARTS)
    ]


def _refuse_packed(folder: Path) -> None:
    if packed := _find_packed(folder):
        wav = shlex.quote(str(folder / "wav"))
        command = f'cd {wav} && for f in *{_PACKED}; do tar -xzf "$f"; done'
        raise DataError(f"{packed[0]}: {len(packed)} speakers are still packed (--download unpacks them, or {command})")


def _unpack_speakers(folder: Path, report: Report, *, keep: bool) -> None:
    """Unpack the packed speakers of a folder, each whole or not at all. keep: the packed files, too."""
    from ds2cli.corpora._unpack import unpack

    packed, wav = _find_packed(folder), folder / "wav"
    remove_abandoned_files(wav)
    done, total = 0, sum(path.stat().st_size for path in packed)
    for archive in packed:
        # a name that walk_files passes over
        unfinished = wav / f".{os.getpid()}.part.{archive.name}"
        lock = FolderLock(str(unfinished), "another process is unpacking into this folder (wait for it)")
        try:
            unpack(archive, unfinished)
            for speaker in sorted(unfinished.glob("*/*")):
                target = wav / speaker.relative_to(unfinished)
                target.parent.mkdir(exist_ok=True)
                if not target.exists():
                    speaker.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            lock.release()
        done += archive.stat().st_size
        report.update("unpack speakers", done, total)
        if not keep:
            archive.unlink()
