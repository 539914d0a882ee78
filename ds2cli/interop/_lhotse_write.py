"""Write manifests of lhotse."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from ds2cli.audio.read import AudioInfo, probe
from ds2cli.config.interop import LhotseExport
from ds2cli.corpora._ids import unique_ids
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.interop._extra import difference
from ds2cli.interop._lhotse_row import DS2, Fields, Source, make_row
from ds2cli.io import open_out
from ds2cli.manifest import FIELDS, Row, map_paths

MAIN = "cuts.jsonl.gz"
RECORDINGS, SUPERVISIONS = "recordings.jsonl.gz", "supervisions.jsonl.gz"
FILES = (MAIN, RECORDINGS, SUPERVISIONS)

BLOCK = 1024
"""Rows whose headers are read at a time."""

RESERVED = {"recording_id", "start", "end", "language", "custom", "alignment", DS2, *FIELDS} - {"split"}
"""Names that lhotse has itself, or that mean something in a row of ds2 only: no custom fields."""

Header = Callable[[str], AudioInfo | BadUtterance]


def write(open_rows: Callable[[Ledger], Iterator[Row]], folder: str, config: LhotseExport, ledger: Ledger) -> None:
    """Write recordings, supervisions and cuts."""
    names = _name_recordings(open_rows(Ledger()))
    header: Header = lru_cache(2 * BLOCK)(_read_header)
    written: set[str] = set()
    rows, faults = open_rows(ledger), Counter[str]()
    with (
        ThreadPoolExecutor(config.nj) as pool,
        open_out(os.path.join(folder, RECORDINGS)) as recordings,
        open_out(os.path.join(folder, SUPERVISIONS)) as supervisions,
        open_out(os.path.join(folder, MAIN)) as cuts,
    ):
        spread = pool.map if config.nj > 1 else map
        while block := list(islice(rows, BLOCK)):
            infos = spread(lambda row: header(row.get("audio_filepath", "")), block)
            for row, info in zip(block, infos, strict=True):
                try:
                    if not row.get("audio_filepath"):
                        raise BadUtterance("no-audio-filepath", "the field 'audio_filepath' is missing")
                    if isinstance(info, BadUtterance):
                        raise info
                    name = names[os.path.normpath(row["audio_filepath"])]
                    row = map_paths(row, os.path.abspath) if config.paths == "absolute" else row
                    recording = make_recording(name, row["audio_filepath"], info)
                    supervision = make_supervision(row, recording)
                except BadUtterance as e:
                    ledger.drop_error(row["id"], e)
                    continue
                if name not in written:
                    written.add(name)
                    recordings.write(_line(recording))
                supervisions.write(_line(supervision))
                cuts.write(_line(_make_cut(supervision, recording)))
                ledger.kept += 1
                faults["rows have another speed than their recording: lhotse plays the recording"] += (
                    row.get("speed", 1.0) != 1.0
                )
    ledger.notes.extend(f"{number} {fault}" for fault, number in faults.items() if number)


def _name_recordings(rows: Iterator[Row]) -> dict[str, str]:
    """The ids of the recordings by their paths: the names of the files."""
    paths = list(dict.fromkeys(os.path.normpath(row["audio_filepath"]) for row in rows if row.get("audio_filepath")))
    return dict(zip(paths, unique_ids(paths, lambda path: "_".join(path.stem.split()) or "recording"), strict=True))


def make_recording(name: str, path: str, info: AudioInfo) -> Fields:
    """The recording of a file."""
    channels, samples = list(range(info.channels)), round(info.duration_s * info.sample_rate)
    return {
        "id": name,
        "sources": [{"type": "file", "channels": channels, "source": path}],
        "sampling_rate": info.sample_rate,
        "num_samples": samples,
        "duration": samples / info.sample_rate,
        "channel_ids": channels,
    }


def make_supervision(row: Row, recording: Fields) -> Fields:
    """The supervision of a row, in times of the recording; BadUtterance if lhotse cannot have it."""
    channels, length = recording["channel_ids"], recording["duration"]
    channel: Any = row.get("channel", channels if len(channels) > 1 else 0)
    if not isinstance(channel, list) and channel >= len(channels):
        raise BadUtterance("no-such-channel", f"the recording has {len(channels)} channels, no number {channel}")
    start: float = row.get("offset", 0.0)
    duration: float = row.get("duration", length - start)
    if not duration > 0 or start + duration > length + 0.001:
        raise BadUtterance(
            "bad-segment", f"{start:g} to {start + duration:g} s of a recording of {length:.3f} s (ds2 data validate)"
        )
    supervision: Fields = {"id": row["id"], "recording_id": recording["id"], "start": start, "duration": duration}
    supervision["channel"] = channel
    for name, field in (("text", "text"), ("lang", "language"), ("speaker", "speaker"), ("gender", "gender")):
        if isinstance(row.get(name), str):
            supervision[field] = row[name]
    source = recording["sources"][0]["source"]
    files = {number: (source, number if len(channels) > 1 else None) for number in channels}
    derived = make_row(supervision, Source(source, files, recording["sampling_rate"], length), 0)
    extra = difference(row, derived)
    custom = {n: v for n, v in extra.get("add", {}).items() if n not in RESERVED and _is_plain(v)}
    if rest := {n: v for n, v in extra.get("add", {}).items() if n not in custom}:
        extra["add"] = rest
    else:
        extra.pop("add", None)
    return {**supervision, "custom": {**custom, DS2: extra}}


def _make_cut(supervision: Fields, recording: Fields) -> Fields:
    """A cut of exactly the supervision, whose times in it begin at 0."""
    start, duration = supervision["start"], min(supervision["duration"], recording["duration"] - supervision["start"])
    return {
        "id": supervision["id"],
        "start": start,
        "duration": duration,
        "channel": supervision["channel"],
        "supervisions": [{**supervision, "start": 0.0}],
        "recording": recording,
        "type": "MultiCut" if isinstance(supervision["channel"], list) else "MonoCut",
    }


def _is_plain(value: Any) -> bool:
    """Whether lhotse leaves a custom value as it is: an object may become one of its arrays."""
    return not isinstance(value, dict) and value is not None


def _line(item: Fields) -> str:
    return json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n"


def _read_header(path: str) -> AudioInfo | BadUtterance:
    if not path or not Path(path).is_file():
        return BadUtterance("missing-audio", f"no file {path}")
    try:
        return probe(path, decode=False)
    except BadUtterance as e:
        return e
