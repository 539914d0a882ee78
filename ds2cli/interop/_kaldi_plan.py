"""What a data folder of Kaldi will have: decided by a first pass over the rows, as Kaldi's files name all or none."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ds2cli.corpora._ids import unique_ids
from ds2cli.interop._kaldi_row import GENDERS
from ds2cli.manifest import Row, is_id

LETTERS = "AB"
GENDER_LETTERS = {**{name: letter for letter, name in GENDERS.items()}, **{letter: letter for letter in GENDERS}}

Key = tuple[str, int | None]
"""A recording in Kaldi: the path of its file, and the channel if the rows state one."""


@dataclass
class Plan:
    """What all rows have in common. rows: their number.  has: how many have a field that a file can hold.

    recordings: names by file and channel, if there are segments.  genders: letters by speaker, if all are known.
    breaks: how often the order of ids is not that of speakers.
    """

    rows: int = 0
    has: Counter[str] = field(default_factory=Counter)
    recordings: dict[Key, str] = field(default_factory=dict)
    genders: dict[str, str] = field(default_factory=dict)
    breaks: int = 0

    @property
    def has_segments(self) -> bool:
        """Whether rows are parts of recordings."""
        return self.has["offset"] > 0

    @property
    def has_channels(self) -> bool:
        """Whether reco2file_and_channel can be written: it has letters for two channels."""
        return self.has["channel"] > 0 and not self.has["other channel"]

    def complete(self, name: str) -> bool:
        """Whether all rows have a field, so that its file can be written."""
        return self.rows > 0 and self.has[name] == self.rows


def make_plan(rows: Iterable[Row]) -> Plan:
    """Look at all rows."""
    plan, names, last = Plan(), dict[Key, set[str]](), ""
    genders: dict[str, set[Any]] = {}
    for row in rows:
        plan.rows += 1
        for name, is_usable in _USABLE.items():
            if name in row and is_usable(row[name]):
                plan.has[name] += 1
        if row.get("channel", 0) >= len(LETTERS):
            plan.has["other channel"] += 1
        speaker = speaker_of(row)
        plan.breaks += speaker < last
        last = speaker
        genders.setdefault(speaker, set()).add(row.get("gender"))
        if row.get("audio_filepath"):
            key = recording_key(row)
            known = names.setdefault(key, set())
            if len(known) < 2:
                known.add(row.get("recording", ""))
    letters = {speaker: _gender_letter(found) for speaker, found in genders.items()}
    if all(letters.values()):
        plan.genders = letters
    if plan.has_segments:
        plan.recordings = _name_recordings(names)
    return plan


def speaker_of(row: Row) -> str:
    """The speaker as Kaldi writes it, without spaces; an utterance without one is its own speaker."""
    return "_".join(str(row.get("speaker", "")).split()) or str(row["id"])


def recording_key(row: Row) -> Key:
    """The recording of a row."""
    return row["audio_filepath"], row.get("channel")


def kaldi_text(text: str) -> str:
    """A text as Kaldi accepts it: words with single spaces between them."""
    return " ".join(text.split())


_USABLE: dict[str, Callable[[Any], bool]] = {
    "audio_filepath": bool,
    "offset": lambda value: True,
    "duration": lambda value: value > 0,
    "channel": lambda value: True,
    "text": lambda value: True,
    "lang": lambda value: value.isalpha() or is_id(value),
    "feats": bool,
    "num_frames": lambda value: value > 0,
}


def _gender_letter(found: set[Any]) -> str:
    """The letter of a speaker; "" if rows state none or several."""
    value = next(iter(found)) if len(found) == 1 else None
    return GENDER_LETTERS.get(value, "") if isinstance(value, str) else ""


def _name_recordings(names: Mapping[Key, set[str]]) -> dict[Key, str]:
    """A name for each recording: the one that its rows state, else that of its file, and `-` with its channel."""
    stated = {key: next(iter(found)) for key, found in names.items() if len(found) == 1}
    shared = {name for name, number in Counter(stated.values()).items() if number > 1}
    result = {key: name for key, name in stated.items() if name and name not in shared}
    paths = list(dict.fromkeys(os.path.normpath(path) for path, _ in names))
    stems = dict(zip(paths, unique_ids(paths, _stem), strict=True))
    taken = set(result.values())
    for path, channel in names:
        if (path, channel) not in result:
            name = stems[os.path.normpath(path)]
            if channel is not None:
                name += f"-{LETTERS[channel] if channel < len(LETTERS) else channel}"
            while name in taken:
                name += "-r"
            taken.add(name)
            result[path, channel] = name
    return result


def _stem(path: Path) -> str:
    return "_".join(path.stem.split()) or "recording"
