"""Write a part of a recording as a file of its own, with the samples that the part has."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ds2cli.audio.read import read
from ds2cli.io import open_out_bytes
from ds2cli.manifest import Row

DEEP = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")
"""Formats with more than 16 bits per sample."""


def write_segment(row: Row, path: str) -> None:
    """Write the segment and the channel of a row to a FLAC or WAV file. BadUtterance as of `audio.read.read`."""
    import soundfile

    source, speed = row["audio_filepath"], row.get("speed", 1.0)
    duration = row["duration"] * speed if "duration" in row and "offset" in row else None
    samples, rate = read(source, channel=row.get("channel"), offset_s=row.get("offset", 0.0), duration_s=duration)
    depth = "PCM_16"
    with contextlib.suppress(soundfile.SoundFileError):
        depth = "PCM_24" if soundfile.info(source).subtype in DEEP else depth
    with open_out_bytes(path) as f:
        soundfile.write(f, samples, rate, format=Path(path).suffix[1:].upper(), subtype=depth)
