"""The row of a supervision of lhotse, and of the recording that it is a part of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

from ds2cli.errors import BadUtterance
from ds2cli.interop._recordings import Recordings
from ds2cli.manifest import FIELDS, Row
from ds2cli.text.profiles import is_language_tag

DS2 = "ds2"
"""The custom field for what lhotse has no field for (_extra.py)."""

NAMES = {"text": "text", "speaker": "speaker", "gender": "gender"}
"""Fields of a supervision that a row has as they are."""

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """A recording of lhotse. files: of each channel, the path and the number of the channel in it, None if it is alone.

    path: of the file with all channels, None if they are in several files.
    """

    path: str | None
    files: dict[int, tuple[str, int | None]]
    sample_rate: int
    duration: float


def make_source(recording: Any, recordings: Recordings) -> Source:
    """A recording as a manifest of lhotse has it. BadUtterance if it is no file."""
    if not isinstance(recording, dict):
        raise BadUtterance("no-recording", "the recording is missing")
    name = recording.get("id")
    if recording.get("transforms"):
        raise BadUtterance("transformed", f"the recording {name!r} is changed when it is loaded (lhotse's save_audios)")
    files: dict[int, tuple[str, int | None]] = {}
    paths = []
    for source in _list(recording.get("sources")):
        channels, path = _list(source.get("channels")), _find_file(source, str(name), recordings)
        paths.append(path)
        for number, channel in enumerate(channels):
            files[channel] = (path, number if len(channels) > 1 else None)
    rate, duration = recording.get("sampling_rate"), recording.get("duration")
    if not files or not isinstance(rate, int) or not _is_seconds(duration):
        raise BadUtterance("no-recording", f"the recording {name!r} has no sources, sampling_rate or duration")
    return Source(paths[0] if len(paths) == 1 else None, files, rate, duration)


def _find_file(source: Fields, name: str, recordings: Recordings) -> str:
    kind, value = source.get("type"), source.get("source")
    if kind == "file" and isinstance(value, str):
        return recordings.join(value)
    if kind == "command" and isinstance(value, str):
        return recordings.run(value.strip().removesuffix("|"), name)
    fix = "lhotse's save_audios stores it as a file"
    raise BadUtterance("no-file", f"the recording {name!r} is of the type {kind!r}, expected a file ({fix})")


def make_row(supervision: Fields, source: Source, start: float) -> Row:
    """The row that a supervision alone gives, without what ds2 has kept.

    start: of what its own start is relative to, in the recording (s).
    """
    row: Row = {"id": supervision.get("id")}
    channels = _list(supervision.get("channel", 0))
    if len(channels) > 1 and set(channels) != set(source.files):
        raise BadUtterance("some-channels", f"channels {channels} of {sorted(source.files)}: expected one, or all")
    if len(channels) > 1 and source.path is None:
        raise BadUtterance("several-files", "the channels are in several files, expected one")
    if not channels or channels[0] not in source.files:
        raise BadUtterance("no-such-channel", f"channels {channels}: the recording has {sorted(source.files)}")
    if len(channels) > 1:
        row["audio_filepath"] = source.path
    else:
        row["audio_filepath"], channel = source.files[channels[0]]
        if channel is not None:
            row["channel"] = channel
    own, duration = supervision.get("start", 0), supervision.get("duration")
    if not _is_seconds(duration) or not _is_number(own) or duration <= 0:
        raise BadUtterance("bad-segment", f"expected a start and a duration in seconds, got {own!r} and {duration!r}")
    # the sum of two texts of seconds may differ from the text of their sum in its last digit
    offset = round(start + own, 9) if start and own else start or own
    if offset < 0 or offset >= source.duration:
        raise BadUtterance("bad-segment", f"it starts at {offset:g} s of a recording of {source.duration:g} s")
    if offset > 0 or abs(duration - source.duration) * source.sample_rate >= 0.5:
        row["offset"] = offset
    row["duration"] = duration
    for name, field in NAMES.items():
        if supervision.get(field) is not None:
            row[name] = supervision[field]
    if (language := supervision.get("language")) is not None:
        row["lang" if is_language_tag(str(language)) else "language"] = language
    if supervision.get("alignment"):
        row["alignment"] = supervision["alignment"]
    for name, value in _fields(supervision.get("custom")).items():
        if name not in row and name != DS2 and not (name in FIELDS and value is None):
            row[name] = value
    row.setdefault("sample_rate", source.sample_rate)
    return row


def add_features(row: Row, cut: Fields, recordings: Recordings) -> bool:
    """Add the features of a cut, if they are those of the row, in a Kaldi archive; False if they are something else."""
    features = cut.get("features")
    if not isinstance(features, dict):
        return True
    path = features.get("storage_path")
    is_same = _same_times(row, cut) and _same_times(row, {**cut, **features})
    if features.get("storage_type") != "kaldiio" or not isinstance(path, str) or path.endswith(".scp") or not is_same:
        return False
    row["feats"] = recordings.join(path)
    row["num_frames"] = features.get("num_frames")
    return True


def _same_times(row: Row, part: Fields) -> bool:
    """Whether a row covers a part of the recording, up to a tenth of a second: its last frame."""
    start, duration = part.get("start", 0), part.get("duration")
    is_near = _is_number(start) and _is_number(duration) and abs(row.get("offset", 0) - start) < 0.001
    return bool(is_near and abs(row["duration"] - duration) < 0.1)


def kept_extra(supervision: Fields) -> Fields | None:
    """What an export has kept of the row; None if ds2 has not written the supervision."""
    extra = _fields(supervision.get("custom")).get(DS2)
    return extra if isinstance(extra, dict) else None


def _fields(value: Any) -> Fields:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_seconds(value: Any) -> TypeGuard[float]:
    return _is_number(value) and value > 0
