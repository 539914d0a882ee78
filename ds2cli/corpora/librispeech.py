"""LibriSpeech: about 1,000 hours of read English audiobooks at 16 kHz.

License    CC-BY 4.0 (Vassil Panayotov, Guoguo Chen, Daniel Povey, Sanjeev Khudanpur; ICASSP 2015).
Source     OpenSLR 12; SRC is the folder "LibriSpeech" that its archives unpack to.
Layout     SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac; the SPEAKER-CHAPTER.trans.txt in the same folder has
           lines `SPEAKER-CHAPTER-UTTERANCE TEXT`. --part selects subsets, such as train-clean-100,train-clean-360.
Dropped    Texts without a recording and recordings without a text.

Example: ds2 prepare librispeech LibriSpeech data/train.jsonl --part train-clean-100
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ds2cli import io
from ds2cli.config.base import setting
from ds2cli.config.prepare import NumbersOption, PrepareConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.manifest import Row


@dataclass(frozen=True, kw_only=True)
class Options(NumbersOption, PrepareConfig):
    """Settings of LibriSpeech."""

    part: str = setting("all", help="Subsets, such as train-clean-100,dev-clean; all takes those in SRC.")


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of the subsets in `config.part`, or of all subsets in `source`."""
    lists = sorted(Path(source).rglob("*.trans.txt"))
    if not lists:
        raise DataError(f"{source}: no SPEAKER-CHAPTER.trans.txt in this folder, expected the folder LibriSpeech")
    available = {_subset(path) for path in lists}
    wanted = available if config.part == "all" else {name.strip() for name in config.part.split(",")}
    if missing := wanted - available:
        subsets = ", ".join(sorted(available))
        raise UsageError(f"--part {','.join(sorted(missing))}: not in {source}, which has {subsets}")
    for path in lists:
        if _subset(path) in wanted:
            yield from _chapter_rows(path, ledger)


def _subset(path: Path) -> str:
    return path.resolve().parts[-4]


def _chapter_rows(path: Path, ledger: Ledger) -> Iterator[Row]:
    recordings = {p.stem: p for p in path.parent.glob("*.flac")}
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
        yield {**row, "split": _subset(path)}
    for name in sorted(recordings):
        ledger.drop(name, "no-text", f"{recordings[name]} has no line in {path.name}")
