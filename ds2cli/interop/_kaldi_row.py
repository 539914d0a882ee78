"""The row that the files of a data folder of Kaldi give for an utterance."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ds2cli.errors import BadUtterance
from ds2cli.interop._decimals import parse_seconds, subtract_seconds
from ds2cli.interop._tables import Value
from ds2cli.manifest import Row

UTTERANCE_FILES = ("text", "utt2spk", "utt2lang", "utt2dur", "utt2num_frames", "feats.scp")
"""Files whose ids are those of utterances, besides `segments`."""

RECORDING_FILES = ("wav.scp", "reco2file_and_channel", "reco2dur")
"""Files whose ids are those of recordings; without `segments`, each recording is an utterance."""

GENDERS = {"m": "male", "f": "female"}
CHANNELS = {"A": 0, "B": 1, "1": 0, "2": 1}
"""Channels in reco2file_and_channel; older recipes have 1 in place of A."""

Find = Callable[[Value, str], str]
"""The file of an entry of wav.scp and the name of its recording."""

_RANGE = re.compile(r"(.*?)(\[[^\]]*\])")
_BYTE = re.compile(r":\d+$")


def make_row(utterance: str, values: Mapping[str, Value], genders: Mapping[str, Value], find: Find) -> Row:
    """The row of an utterance.

    values: of the files that name the utterance or its recording, by the names of the files.  genders: of speakers.
    BadUtterance if one of them cannot be used.
    """
    row: Row = {"id": utterance}
    if "segments" in values:
        row |= _segment(values, find)
    elif "wav.scp" in values:
        row["audio_filepath"] = find(values["wav.scp"], utterance)
        if "reco2file_and_channel" in values:
            row["channel"] = _channel(text_of(values["reco2file_and_channel"]))
    for name in ("utt2dur", "reco2dur"):
        if name in values and "segments" not in values and "duration" not in row:
            row["duration"] = parse_seconds(text_of(values[name]))
    if "text" in values:
        row["text"] = text_of(values["text"])
    if "utt2spk" in values:
        row["speaker"] = text_of(values["utt2spk"])
        gender = genders.get(row["speaker"])
        if isinstance(gender, str):
            row["gender"] = GENDERS.get(gender.lower(), gender)
    if "utt2lang" in values:
        row["lang"] = text_of(values["utt2lang"])
    if "feats.scp" in values:
        row["feats"] = _matrix(text_of(values["feats.scp"]))
    if "utt2num_frames" in values:
        row["num_frames"] = _count(text_of(values["utt2num_frames"]))
    return row


def text_of(value: Value) -> str:
    """The value, or its error."""
    if isinstance(value, BadUtterance):
        raise value
    return value


def recording_of(segment: Value) -> str:
    """The recording of a line of `segments`."""
    return (text_of(segment).split(maxsplit=1) or [""])[0]


def _segment(values: Mapping[str, Value], find: Find) -> Row:
    line = text_of(values["segments"])
    fields = line.split()
    if len(fields) not in (3, 4):
        raise BadUtterance("bad-segment", f"expected RECORDING START END in segments, found {line[:60]!r}")
    recording, start, end = fields[:3]
    if "wav.scp" not in values:
        raise BadUtterance("no-recording", f"the segment is of the recording {recording!r}, which wav.scp lacks")
    row: Row = {"audio_filepath": find(values["wav.scp"], recording)}
    if "reco2file_and_channel" in values:
        row["channel"] = _channel(text_of(values["reco2file_and_channel"]))
    elif len(fields) == 4:
        row["channel"] = _count(fields[3])
    row["offset"] = parse_seconds(start)
    if not end.startswith("-"):
        row["duration"] = subtract_seconds(end, start)
    elif _number(end) != -1:
        raise BadUtterance("bad-segment", f"the segment ends at {end[:20]}: expected seconds, or -1")
    elif "reco2dur" in values:
        row["duration"] = subtract_seconds(text_of(values["reco2dur"]), start)
    if row.get("duration", 1) <= 0:
        raise BadUtterance("bad-segment", f"the segment from {start} to {end} s has no duration")
    return {**row, "recording": recording}


def _channel(text: str) -> int:
    letter = (text.split() or [""])[-1]
    if letter not in CHANNELS:
        raise BadUtterance("wrong-type", f"the channel in reco2file_and_channel must be A or B, got {letter[:20]!r}")
    return CHANNELS[letter]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadUtterance("wrong-type", f"expected a whole number, got {text[:40]!r}")
    return int(text)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _matrix(value: str) -> str:
    """The `path:byte` of an entry of feats.scp."""
    if value.endswith("|"):
        raise BadUtterance("command", f"the features are the output of {value[:60]!r} (copy-feats stores them)")
    if part := _RANGE.fullmatch(value):
        fix = "copy-feats stores these rows as a matrix of their own"
        raise BadUtterance("feats-range", f"the features are a part of a matrix, {part[2][:40]} ({fix})")
    if not value:
        raise BadUtterance("no-feats", "feats.scp names no features")
    # a file with one matrix has no byte
    return value if _BYTE.search(value) else f"{value}:0"
