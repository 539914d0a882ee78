"""AN4: an hour of census answers and spelled words.

What       948 utterances for training and 130 for tests at 16 kHz, recorded in 1991: quick to train on.
License    Free for any use, with CMU's notice (Carnegie Mellon University; Acero, 1990).
Source     an4_sphere.tar.gz or an4_raw.*.tar.gz of CMU; SRC is the folder "an4" that they unpack to.
Layout     wav/an4_clstk/fash/an251-fash-b.sph (train) and wav/an4test_clstk/…; etc/an4_train.fileids and
           etc/an4_test.fileids list these paths, and etc/an4_train.transcription and etc/an4_test.transcription have
           lines `<s> YES </s> (an251-fash-b)`. The speaker is the middle of the id. The recordings may also be .wav,
           .flac, or .raw: the latter have no header, and --wav-dir writes WAV copies of them.
Dropped    Bad lines, listed recordings without a file or a text and, not counted as bad, recordings that are not
           listed: some copies of the corpus have them.

Example: ds2 prepare an4 an4 data/train.jsonl --part train
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ds2cli import io
from ds2cli.audio.find import walk_files
from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig
from ds2cli.config.text import TextOptions
from ds2cli.corpora._layout import require_layout
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.manifest import Row

PARTS = ("train", "test")
SUFFIXES = (".sph", ".wav", ".flac", ".raw")
"""Endings of the recordings, the preferred one first."""

SAMPLE_RATE = 16000
_LINE = re.compile(r"(?:<s>\s+)?(.*?)\s*(?:</s>\s*)?\(\s*(\S+?)\s*\)")


@dataclass(frozen=True, kw_only=True)
class Options(TextOptions, PrepareConfig):
    """Settings of AN4."""

    part: Literal["all", "train", "test"] = setting("all", help="Part of the corpus.")
    wav_dir: str | None = setting(None, help="Folder for WAV copies of .raw recordings, which have no header.")


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of one part, or of both."""
    parts = PARTS if config.part == "all" else (config.part,)
    folder = require_layout(source, "an4", ("wav", *(f"etc/an4_{part}.transcription" for part in parts)))
    files, left = walk_files(folder / "wav")
    for item in left:
        ledger.drop_error(str(item.path), item.error, bad=item.bad)
    recordings = _by_id(files)
    for part in parts:
        texts = dict(_read_texts(folder / f"etc/an4_{part}.transcription", ledger))
        listed = _read_ids(folder / f"etc/an4_{part}.fileids")
        # a copy without the list of files has only the other one
        for name in dict.fromkeys([*listed, *texts]):
            try:
                yield _row(name, texts, recordings, part, config)
            except BadUtterance as e:
                ledger.drop_error(name, e)
    known = {name for part in PARTS for name in _read_ids(folder / f"etc/an4_{part}.fileids")}
    # in a copy without lists of files, those of the other part look like these
    for name in sorted(recordings.keys() - known) if known else ():
        ledger.drop(name, "not-listed", f"{recordings[name]} is in no list of {folder}/etc", bad=False)


def _by_id(files: list[Path]) -> dict[str, Path]:
    recordings: dict[str, Path] = {}
    for suffix in SUFFIXES:
        for path in files:
            if path.suffix.lower() == suffix:
                recordings.setdefault(path.stem, path)
    return recordings


def _read_texts(path: Path, ledger: Ledger) -> Iterator[tuple[str, str]]:
    """The id and the text of each line."""
    seen = set()
    for number, line in io.read_lines(str(path)):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            ledger.drop(place, "bad-line", f"{place}: expected `<s> TEXT </s> (ID)`, got {line[:60]!r}")
        elif match[2] in seen:
            ledger.drop(match[2], "duplicate-id", f"{place}: the list has this id twice")
        else:
            seen.add(match[2])
            yield match[2], match[1]
    if not seen:
        raise DataError(f"{path}: no lines `<s> TEXT </s> (ID)`, expected one for each recording")


def _read_ids(path: Path) -> list[str]:
    """The ids in a list of files; [] if there is none."""
    if not path.exists():
        return []
    return [line.strip().rpartition("/")[2] for _, line in io.read_lines(str(path)) if line.strip()]


def _row(name: str, texts: dict[str, str], recordings: dict[str, Path], part: str, config: Options) -> Row:
    if name not in texts:
        raise BadUtterance("no-text", f"{name} is in an4_{part}.fileids and not in an4_{part}.transcription")
    if name not in recordings:
        raise BadUtterance("missing-audio", f"no {name}{SUFFIXES[0]} in wav")
    path = recordings[name]
    if path.suffix.lower() == ".raw" and config.wav_dir is not None:
        path = _write_wav(path, Path(config.wav_dir) / f"{name}.wav")
    row: Row = {"id": name, "audio_filepath": str(path), "text": texts[name]}
    speaker = name.split("-")[1:2]
    return {**row, **({"speaker": speaker[0]} if speaker else {}), "lang": "en", "split": part}


def _write_wav(raw: Path, wav: Path) -> Path:
    """Write the 16-bit samples of a file without a header as a WAV file."""
    import numpy as np
    import soundfile

    data = raw.read_bytes()
    if len(data) < 4 or len(data) % 2:
        raise BadUtterance("unreadable-audio", f"{raw}: expected 16-bit samples, got {len(data)} bytes")
    # the archives are big-endian and little-endian: in the wrong order, neighbouring samples of speech are far apart
    orders = [np.frombuffer(data, order).astype(np.float64) for order in ("<i2", ">i2")]
    samples = min(orders, key=lambda x: float(np.abs(np.diff(x)).mean()))
    with io.open_out_bytes(str(wav)) as f:
        soundfile.write(f, samples.astype(np.int16), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return wav
