"""RIRS_NOISES: room impulse responses, and noises.

What       60,000 simulated and 325 measured responses, and 935 noises, at 16 kHz. The manifests are for `rir` and
           `noise` in the section [augment] of ds2 train: their rows have no text.
License    Apache 2.0 (Ko et al., ICASSP 2017; its sources are RWCP, REVERB 2014, Aachen AIR and MUSAN).
Source     OpenSLR 28; SRC is the folder "RIRS_NOISES" that its archive unpacks to. --download fetches it (1.3 GB),
           verifies its checksum and unpacks it; after an interruption the same command continues.
Layout     simulated_rirs/{smallroom,mediumroom,largeroom}/rir_list, pointsource_noises/noise_list, and rir_list and
           noise_list in real_rirs_isotropic_noises have lines `--rir-id ID --room-id ROOM RIRS_NOISES/…/NAME.wav` and
           `--noise-id ID --noise-type TYPE … RIRS_NOISES/…/NAME.wav`. --part selects responses (smallroom, mediumroom,
           largeroom; simulated: these three; real; rirs: all) or noises (isotropic; pointsource, which are also in
           MUSAN; noises: both). Of recordings by several microphones, channel 0 is taken (--channel).
Split      By the SHA-1 hash of the room, or of the id without one, modulo 10: 0 is dev, 1 is test, 2 … 9 are train. All
           responses and noises of a room are in the same part (--split).
Dropped    Bad lines, and lines without a recording.

Example: ds2 prepare rirs_noises RIRS_NOISES data/rir.jsonl --part smallroom,real --split train --download
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from ds2cli import io
from ds2cli.config.base import setting
from ds2cli.config.prepare import DownloadOptions, PrepareConfig
from ds2cli.corpora._download import SILENT, Archive, Report, fetch_archives
from ds2cli.corpora._layout import require_layout
from ds2cli.corpora._split import assign_split
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.manifest import Row

FOLDER = "RIRS_NOISES"
ARCHIVE = Archive(
    "28/rirs_noises.zip", "e6f48e257286e05de56413b4779d8ffb", FOLDER, "simulated_rirs", unpacked_ratio=2.5
)

SIMULATED = ("smallroom", "mediumroom", "largeroom")
LISTS = {
    **{room: f"simulated_rirs/{room}/rir_list" for room in SIMULATED},
    "real": "real_rirs_isotropic_noises/rir_list",
    "isotropic": "real_rirs_isotropic_noises/noise_list",
    "pointsource": "pointsource_noises/noise_list",
}
RESPONSES, NOISES = (*SIMULATED, "real"), ("isotropic", "pointsource")
GROUPS = {"simulated": SIMULATED, "rirs": RESPONSES, "noises": NOISES}


@dataclass(frozen=True, kw_only=True)
class Options(DownloadOptions, PrepareConfig):
    """Settings of RIRS_NOISES."""

    text: ClassVar[bool] = False

    part: str = setting(
        "rirs", help="Responses: rirs, simulated, smallroom, …, real; or noises: isotropic, pointsource."
    )
    split: Literal["all", "train", "dev", "test"] = setting("all", help="Part of the rooms and noises.")
    channel: str = setting("0", help="Channel of recordings by several microphones: a number from 0, mix or each.")


def fetch(source: str, config: Options, report: Report = SILENT) -> None:
    """Download the archive unless it is unpacked in `source`."""
    if config.download:
        fetch_archives(source, [ARCHIVE], config.mirror, report)


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each line of the lists of `config.part` that is in the part `config.split`."""
    wanted = _wanted(config.part)
    folder = require_layout(source, FOLDER, [LISTS[name] for name in wanted], "--download fetches it")
    for name in wanted:
        path, is_empty = folder / LISTS[name], True
        for number, line in io.read_lines(str(path)):
            place = f"{path}:{number}"
            try:
                if line.strip():
                    is_empty = False
                    row = _row(line, name, folder, place)
                    if config.split in ("all", row["split"]):
                        yield row
            except BadUtterance as e:
                ledger.drop_error(place, e)
        if is_empty:
            raise DataError(f"{path}: the list is empty, expected a line for each recording (unpack the archive again)")


def _wanted(part: str) -> list[str]:
    """The lists of a value of --part; UsageError for an unknown one, and for responses and noises together."""
    names = [name.strip() for name in part.split(",")]
    if unknown := [name for name in names if name not in LISTS and name not in GROUPS]:
        raise UsageError(f"--part {','.join(unknown)}: expected any of {', '.join([*GROUPS, *LISTS])}")
    wanted = list(dict.fromkeys(one for name in names for one in GROUPS.get(name, (name,))))
    if set(wanted) & set(RESPONSES) and set(wanted) & set(NOISES):
        raise UsageError(f"--part {part}: responses and noises need a manifest each: one for rir, one for noise")
    return wanted


def _row(line: str, part: str, folder: Path, place: str) -> Row:
    """The row of a line; BadUtterance if it has no recording."""
    try:
        # shlex takes 40 times as long, and most lines have no quotes
        *options, location = shlex.split(line) if set(line) & set("\"'\\") else line.split()
    except ValueError as e:
        raise BadUtterance("bad-line", f"{place}: {e}") from e
    if len(options) % 2 or not all(name.startswith("--") for name in options[::2]) or not location.endswith(".wav"):
        raise BadUtterance("bad-line", f"{place}: expected options and {FOLDER}/…/NAME.wav, got {line.strip()[:80]!r}")
    values = dict(zip(options[::2], options[1::2], strict=True))
    # the paths begin with the folder, or with that in which the lists were made
    below = PurePosixPath(location.rpartition(f"{FOLDER}/")[2])
    path = folder / below
    if not path.is_file():
        raise BadUtterance("missing-audio", f"{place}: no file {path}")
    # the simulated rooms of each size have the same names
    utterance = f"{part}-{below.stem}" if part in SIMULATED else below.stem
    room = values.get("--room-id", values.get("--room-linkage"))
    room = f"{part}-{below.parent.name}" if part in SIMULATED else room
    row: Row = {"id": utterance, "audio_filepath": str(path), "kind": part, "split": assign_split(room or utterance)}
    return {**row, "room": room} if room else row
