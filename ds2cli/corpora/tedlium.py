"""TED-LIUM: English TED talks with their texts.

What       118, 207 or 452 hours (releases 1, 2 and 3) at 16 kHz.
License    CC BY-NC-ND 3.0 (Rousseau et al., LREC 2012 and 2014; Hernandez et al., SPECOM 2018).
Source     OpenSLR 7, 19 and 51; SRC is the folder TEDLIUM_release1, TEDLIUM_release2 or TEDLIUM_release-3. Of
           release 3, the parts of `legacy` are taken, unless SRC is its folder speaker-adaptation or data.
Layout     {train,dev,test}/stm/TALK.stm and sph/TALK.sph. A row is a segment of a talk (`offset`, `duration`,
           `channel`), with the id that Kaldi gives it: TALK-BEGIN-END in 1/100 s. --part selects train, dev or test.
Texts      Split words are joined (that 's, don 't, do n't), numbers of pronunciations, <sil> and noises such as {COUGH}
           are removed, {UH} and {UM} are written uh and um.
Dropped    Bad lines of an .stm file, or one that cannot be read, segments without a recording, and talks without an
           .stm file; by rule, so not counted as bad, segments that are not to be scored
           (ignore_time_segment_in_scoring), and those in which a word is not known (<unk>), as a network would learn
           to leave out words (--unk remove keeps them).

Example: ds2 prepare tedlium TEDLIUM_release-3 data/train.jsonl --part train --nj 8
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ds2cli.audio.formats import AUDIO_SUFFIXES
from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig
from ds2cli.config.text import TextOptions
from ds2cli.corpora._layout import find_near
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.manifest import Row
from ds2cli.transcripts import stm

PARTS = ("train", "dev", "test")

NOISES = ("NOISE", "COUGH", "SMACK", "BREATH")
HESITATIONS = {"{UH}": "uh", "{UM}": "um"}
"""Marks of the corpus. Any other one is a tag, which drops its segment unless --remove-tags names it."""

_REMOVED = re.compile(rf"\(\d\)|<sil>|\{{(?:{'|'.join(NOISES)})\}}|\s\(\S*\)$")
"""Numbers of pronunciations, as in read(2), silence, noises, and the name of the segment after the text."""

_SUFFIX = re.compile(r"(?<=\w) (?=(?:'(?:s|t|d|m|re|ve|ll|all|am|clock)|n't)(?!\S))", re.IGNORECASE)
"""The space before the second part of a word that the corpus splits."""

_GENDER = re.compile(r"\b(fe)?male\b|\bf\d_([mf])\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Options(TextOptions, PrepareConfig):
    """Settings of TED-LIUM."""

    part: str = setting("all", help="Parts: train, dev, test; all takes those in SRC.")
    unk: Literal["drop", "remove"] = setting(
        "drop", help="Segments with <unk>, an unknown word: drop them, or remove only the mark."
    )


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each segment of the talks of the parts in `config.part`."""
    parts = _find_parts(Path(source))
    names = list(parts) if config.part == "all" else [name.strip() for name in config.part.split(",")]
    if missing := [name for name in names if name not in parts]:
        raise UsageError(f"--part {','.join(missing)}: not in {source}, which has {', '.join(parts)}")
    for name in dict.fromkeys(names):
        yield from _part_rows(name, parts[name], config, ledger)


def _find_parts(source: Path) -> dict[str, Path]:
    """The folders with a folder `stm`, by the names of the parts; DataError if there are none."""
    expected = "expected the folder of a release of TED-LIUM, with train/stm, dev/stm or test/stm"
    if not source.is_dir():
        raise DataError(f"{source}: no such folder, {expected}")
    if parts := _list_parts(source):
        return parts
    near = find_near(source, lambda folder: bool(_list_parts(folder)))
    raise DataError(f"{source}: {expected}{f' (pass {near})' if near else ''}")


def _list_parts(source: Path) -> dict[str, Path]:
    """The parts below a folder, which may be one itself."""
    if (source / "stm").is_dir():
        return {source.resolve().name: source}
    for base in (source, source / "legacy"):
        if parts := {name: base / name for name in PARTS if (base / name / "stm").is_dir()}:
            return parts
    return {"data": source / "data"} if (source / "data/stm").is_dir() else {}


def _part_rows(part: str, folder: Path, config: Options, ledger: Ledger) -> Iterator[Row]:
    lists = sorted((folder / "stm").glob("*.stm"))
    recordings = _list_recordings(folder)
    if not lists:
        raise DataError(f"{folder / 'stm'}: no .stm files in this folder (unpack the release again)")
    described: set[str] = set()
    for path in lists:
        try:
            segments = stm.read(str(path), ledger)
        except DataError as e:
            ledger.drop(path.stem, "unreadable-file", str(e))
            described.add(path.stem)
            continue
        described |= {path.stem, *(segment.recording for segment in segments)}
        for segment in segments:
            audio = recordings.get(segment.recording, folder / "sph" / f"{segment.recording}.sph")
            try:
                if segment.is_ignored:
                    raise BadUtterance("not-scored", f"{path}: ignore_time_segment_in_scoring")
                text = clean_text(_text_of(segment), config.unk)
            except BadUtterance as e:
                ledger.drop_error(kaldi_id(segment), e, bad=False)
                continue
            try:
                row = _make_row(segment, audio, text)
            except BadUtterance as e:
                ledger.drop(kaldi_id(segment), e.reason, f"{path}: {e.detail}")
                continue
            yield {**row, "split": part}
    for name in sorted(recordings.keys() - described):
        ledger.drop(name, "no-text", f"{recordings[name]}: no file {folder / 'stm' / name}.stm")


def _list_recordings(folder: Path) -> dict[str, Path]:
    """The recordings of a part by their names. Those of `legacy` are links into `data`, which some copies lack."""
    found: dict[str, Path] = {}
    names = {path.stem for path in (folder / "stm").glob("*.stm")}
    shared = folder.parent.parent / "data/sph"
    files = [*(folder / "sph").glob("*"), *(path for path in shared.glob("*") if path.stem in names)]
    for path in sorted(files, key=lambda path: (path.parent == shared, path.suffix != ".sph", path)):
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
            found.setdefault(path.stem, path)
    return found


def kaldi_id(segment: stm.Segment) -> str:
    """The id that Kaldi's recipes give a segment: times in 1/100 s, cut off."""
    return f"{segment.recording}-{int(segment.begin * 100):07d}-{int(segment.end * 100):07d}"


def clean_text(text: str, unk: Literal["drop", "remove"] = "drop") -> str:
    """The words of a segment; BadUtterance "unknown-word" for <unk>, unless it is to be removed.

    >>> clean_text("{COUGH} i don 't know(2) <sil> that 's it")
    "i don't know that's it"
    """
    if "<unk>" in text:
        if unk == "drop":
            raise BadUtterance("unknown-word", f"{text[:80]!r} has <unk> for a word (--unk remove keeps the others)")
        text = text.replace("<unk>", " ")
    text = _REMOVED.sub(" ", text)
    for mark, word in HESITATIONS.items():
        text = text.replace(mark, word)
    text = " ".join(text.replace("{", "[").replace("}", "]").split())
    return _SUFFIX.sub("", text)


def _text_of(segment: stm.Segment) -> str:
    """The text of a segment, also if it begins with a mark that an stm file has in the place of the label."""
    is_mark = segment.label.lower() in ("unk", "sil")
    return f"<{segment.label}> {segment.text}" if is_mark else segment.text


def _make_row(segment: stm.Segment, audio: Path, text: str) -> Row:
    if segment.end <= segment.begin:
        raise BadUtterance("bad-segment", f"the segment from {segment.begin:g} to {segment.end:g} s has no duration")
    if segment.channel not in stm.CHANNELS:
        raise BadUtterance("wrong-type", f"the channel must be 1 or A, got {segment.channel!r}")
    row: dict[str, Any] = {"id": kaldi_id(segment), "audio_filepath": str(audio)}
    row |= {"channel": stm.CHANNELS[segment.channel], "offset": segment.begin}
    row |= {"duration": round(segment.end - segment.begin, 6), "text": text, "speaker": segment.speaker, "lang": "en"}
    if gender := _GENDER.search(segment.label):
        is_female = gender[1] or (gender[2] or "").lower() == "f"
        row["gender"] = "female" if is_female else "male"
    return row
