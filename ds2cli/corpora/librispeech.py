"""LibriSpeech: about 1,000 hours of read English audiobooks at 16 kHz.

License    CC-BY 4.0 (Vassil Panayotov, Guoguo Chen, Daniel Povey, Sanjeev Khudanpur; ICASSP 2015).
Source     OpenSLR 12; SRC is the folder "LibriSpeech" that its archives unpack to. --download fetches the subsets
           of --part that are not in SRC and verifies their checksums; after an interruption the same command continues.
Layout     SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac; the SPEAKER-CHAPTER.trans.txt in the same folder has
           lines `SPEAKER-CHAPTER-UTTERANCE TEXT`. --part selects subsets, such as train-clean-100,train-clean-360.
Dropped    Texts without a recording, recordings without a text, and folders that cannot be read.

Example: ds2 prepare librispeech LibriSpeech data/dev.jsonl --part dev-clean --download
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ds2cli import io
from ds2cli.audio.find import walk_files
from ds2cli.config.base import setting
from ds2cli.config.prepare import DownloadOptions, PrepareConfig
from ds2cli.config.text import TextOptions
from ds2cli.corpora._download import SILENT, Archive, Report, fetch_archives
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.manifest import Row

_LIST_ENDING = ".trans.txt"
FOLDER = "LibriSpeech"

CHECKSUMS = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}
"""The MD5 checksums that OpenSLR publishes for the archives of the subsets."""


@dataclass(frozen=True, kw_only=True)
class Options(DownloadOptions, TextOptions, PrepareConfig):
    """Settings of LibriSpeech."""

    part: str = setting("all", help="Subsets, such as train-clean-100,dev-clean; all takes those in SRC.")


def fetch(source: str, config: Options, report: Report = SILENT) -> None:
    """Download the subsets in `config.part` that are not in `source`."""
    if config.download and config.part == "all":
        raise UsageError(f"--download: all subsets have 60 GB: name some, such as --part {next(iter(CHECKSUMS))}")
    fetch_subsets(source, config, 12, CHECKSUMS, report)


def fetch_subsets(source: str, config: Options, resource: int, checksums: dict[str, str], report: Report) -> None:
    """Download the subsets in `config.part`, or all of `checksums`, from a resource of OpenSLR."""
    if not config.download:
        return
    wanted = list(checksums) if config.part == "all" else _names(config.part)
    if unknown := [name for name in wanted if name not in checksums]:
        raise UsageError(f"--part {','.join(unknown)}: expected subsets to download: {', '.join(checksums)}")
    here = Path(os.path.realpath(source))
    if here.name in checksums and here.is_dir() and wanted != [here.name]:
        raise DataError(
            f"{source}: this is one subset, expected the folder {FOLDER} to download to (pass {here.parent})"
        )
    # SRC may also be the folder above
    below = Path(source) / FOLDER
    archives = [Archive(f"{resource}/{name}.tar.gz", checksums[name], FOLDER, name) for name in wanted]
    fetch_archives(str(below) if below.is_dir() else source, archives, config.mirror, report)


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of the subsets in `config.part`, or of all subsets in `source`."""
    files, left = walk_files(source)
    lists: dict[Path, list[Path]] = {}
    recordings: dict[Path, dict[str, Path]] = {}
    for path in files:
        if path.name.endswith(_LIST_ENDING):
            lists.setdefault(path.parent, []).append(path)
        elif path.suffix.lower() == ".flac":
            recordings.setdefault(path.parent, {})[path.stem] = path
    unreadable = [item for item in left if item.bad]
    if not lists:
        hidden = f", and {unreadable[0].error}" if unreadable else ""
        raise DataError(
            f"{source}: no SPEAKER-CHAPTER.trans.txt in this folder, expected the folder LibriSpeech{hidden}"
        )
    chapters = sorted(lists.keys() | recordings.keys())
    subsets = {chapter: _subset(chapter, source) for chapter in chapters}
    available = {subsets[chapter] for chapter in lists}
    wanted = available if config.part == "all" else set(_names(config.part))
    if missing := wanted - available:
        raise UsageError(
            f"--part {','.join(sorted(missing))}: not in {source}, which has {', '.join(sorted(available))}"
        )
    for item in unreadable:
        ledger.drop_error(str(item.path), item.error)
    for chapter in chapters:
        if subsets[chapter] in wanted or (config.part == "all" and chapter not in lists):
            yield from _chapter_rows(lists.get(chapter, []), recordings.get(chapter, {}), subsets[chapter], ledger)


def _names(part: str) -> list[str]:
    return [name.strip() for name in part.split(",")]


def _subset(chapter: Path, source: str) -> str:
    """The folder two above a chapter, such as dev-clean in dev-clean/1272/128104; links keep their names."""
    path = Path(os.path.realpath(source)) / chapter.relative_to(source)
    return path.parts[-3:][0]


def _chapter_rows(lists: list[Path], recordings: dict[str, Path], subset: str, ledger: Ledger) -> Iterator[Row]:
    for path in lists:
        speaker = path.name.split("-")[0]
        for number, line in io.read_lines(str(path)):
            name, _, text = line.strip().partition(" ")
            if not name:
                continue
            recording = recordings.pop(name, None)
            if recording is None:
                ledger.drop(name, "missing-audio", f"{path}:{number}: no {name}.flac in the same folder")
                continue
            row = {"id": name, "audio_filepath": str(recording), "text": text, "speaker": speaker, "lang": "en"}
            yield {**row, "split": subset}
    for name, recording in sorted(recordings.items()):
        where = lists[0].name if lists else f"any *{_LIST_ENDING}: there is none in its folder"
        ledger.drop(name, "no-text", f"{recording} has no line in {where}")
