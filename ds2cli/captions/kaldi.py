"""Kaldi's data folder: `segments`, `text`, `wav.scp`, `utt2spk` and `spk2utt`, each sorted by its first column.

A row that is a part of a recording (with `offset`), or no longer than a phrase, is one utterance. A longer one is
divided into phrases, which begin and end in the silence around their words.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from ds2cli.captions.phrases import MAX_PHRASE, make_phrases
from ds2cli.captions.spans import clean, milliseconds

Words = Sequence[Mapping[str, Any]]

MARGIN = 0.5
"""Silence (s) that a phrase has on each side, if the pause is long enough for it and its neighbor.

A network ends words up to 0.4 s before their sound (measured for `ds2 segment`).
"""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A part of a recording with its text. start, end: seconds, in the recording."""

    id: str
    speaker: str
    recording: str
    start: float
    end: float
    text: str


def make_utterances(row: Mapping[str, Any], words: Words, recording: str, offset: float) -> list[Utterance]:
    """The utterances of a row that has words. offset: of the row in the recording (s)."""
    if not words:
        return []
    last = max(word["end"] for word in words)
    duration = max(row.get("duration", 0.0), last)
    is_whole = "offset" in row or duration <= MAX_PHRASE
    phrases: Sequence[Words] = [words] if is_whole else make_phrases(words, row.get("chars", ()))
    times = [(0, max(1, milliseconds(duration)))] if is_whole else _with_margins(phrases, duration)
    utterances = []
    for phrase, (start, end) in zip(phrases, times, strict=True):
        name = row["id"] if is_whole else f"{row['id']}-{start:08d}-{end:08d}"
        speaker = "_".join(clean(row.get("speaker") or "").split())
        # Kaldi sorts by speaker and by utterance and expects the same order
        name = name if name.startswith(speaker) else f"{speaker}-{name}"
        text = " ".join(clean(word["word"]) for word in phrase)
        owner = speaker or (name if is_whole else row["id"])
        utterances.append(Utterance(name, owner, recording, offset + start / 1000, offset + end / 1000, text))
    return utterances


def format_folder(
    utterances: Iterable[Utterance], paths: Mapping[str, str], channels: Mapping[str, int] = MappingProxyType({})
) -> dict[str, str]:
    """The text of each file of the folder.

    paths: of the audio files by recording.  channels: of those recordings that are one channel of their file.
    """
    found = sorted(_with_unique_ids(utterances), key=lambda u: u.id)
    by_speaker: dict[str, list[str]] = {}
    for utterance in found:
        by_speaker.setdefault(utterance.speaker, []).append(utterance.id)
    recordings = sorted({u.recording for u in found} & paths.keys())
    return {
        "segments": "".join(f"{u.id} {u.recording} {u.start:.3f} {u.end:.3f}\n" for u in found),
        "text": "".join(f"{u.id} {u.text}\n" for u in found),
        "utt2spk": "".join(f"{u.id} {u.speaker}\n" for u in found),
        "spk2utt": "".join(f"{speaker} {' '.join(ids)}\n" for speaker, ids in sorted(by_speaker.items())),
        "wav.scp": "".join(f"{name} {read_command(paths[name], channels.get(name))}\n" for name in recordings),
    }


def read_command(path: str, channel: int | None = None) -> str:
    """What Kaldi reads a recording from: the file, or, if it is not WAV or one channel of it, the output of ffmpeg."""
    absolute = os.path.abspath(path)
    if absolute.lower().endswith(".wav") and channel is None:
        return absolute
    mono = "-ac 1" if channel is None else f"-af 'pan=mono|c0=c{channel}'"
    return f"ffmpeg -nostdin -v error -i {shlex.quote(absolute)} {mono} -f wav - |"


def _with_unique_ids(utterances: Iterable[Utterance]) -> Iterator[Utterance]:
    """The utterances; a number is appended to an id that, with its speaker before it, is that of another one."""
    used: set[str] = set()
    for utterance in utterances:
        name, number = utterance.id, 1
        while name in used:
            number += 1
            name = f"{utterance.id}-{number}"
        used.add(name)
        yield replace(utterance, id=name)


def _with_margins(phrases: Sequence[Words], duration: float) -> list[tuple[int, int]]:
    """The times of phrases (ms) with silence around their words; they rise, and none overlaps the next."""
    spoken = [(phrase[0]["start"], max(word["end"] for word in phrase)) for phrase in phrases]
    borders = [0]
    for (_, end), (start, _) in pairwise(spoken):
        borders.append(max(borders[-1] + 1, milliseconds((end + start) / 2)))
    borders.append(max(borders[-1] + 1, milliseconds(duration)))
    times = []
    for (start, end), (low, high) in zip(spoken, pairwise(borders), strict=True):
        begin = min(max(low, milliseconds(start - MARGIN)), high - 1)
        times.append((begin, max(min(high, milliseconds(end + MARGIN)), begin + 1)))
    return times
