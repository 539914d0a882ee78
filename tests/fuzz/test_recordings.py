"""Fuzz recordings: damaged files of every format, their segments, and `ds2 featurize` of such files."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fuzzing import allowed_errors, check_counts, ds2, fuzz
from hypothesis import strategies as st
from inputs import NUMBERS, damaged

from ds2cli.audio.read import is_audio, probe, read

PATTERNS = ("*.wav", "*.flac", "*.mp3", "*.sph", "*.g722")
SUFFIXES = st.sampled_from(["", "", ".wav", ".flac", ".mp3", ".g722", ".sph", ".raw", ".txt", ".m4a"])
LONGEST = 150_000


def smallest(folder, pattern):
    """The smallest recording of a kind; the fuzzer of its kind is skipped where there is none."""
    files = sorted(folder.rglob(pattern), key=lambda path: (path.stat().st_size, path))
    if not files:
        pytest.skip(f"no {pattern} in {folder}")
    return files[0].read_bytes()[:LONGEST]


def use_recording(name, offset, duration):
    """Read a file in every way."""
    with allowed_errors():
        is_audio(name)
    for source in (name, Path(name).read_bytes()):
        with allowed_errors():
            samples, rate = read(source)
            assert samples.dtype == np.float32 and samples.ndim == 1 and np.isfinite(samples).all() and rate > 0
    with allowed_errors():
        probe(name, decode=False)
    with allowed_errors():
        read(name, channel=1, offset_s=offset, duration_s=duration)


@pytest.mark.parametrize("pattern", PATTERNS)
@fuzz(st.data(), SUFFIXES, st.floats(0, 3), st.none() | st.floats(0, 3))
def test_damaged_recordings(shared_data, pattern, data, suffix, offset, duration):
    name = f"x{suffix or pattern[1:]}"
    Path(name).write_bytes(data.draw(damaged(smallest(shared_data, pattern))))
    use_recording(name, offset, duration)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64"])
@fuzz(st.data(), st.sampled_from(["PCM_16", "FLOAT", "PCM_U8", "PCM_S8", "ULAW"]))
def test_damaged_containers(container, data, subtype):
    if not soundfile.check_format(container, subtype):
        subtype = "PCM_16"
    soundfile.write("x", np.linspace(-1, 1, 800), 8000, format=container, subtype=subtype)
    Path("x").write_bytes(data.draw(damaged(Path("x").read_bytes())))
    use_recording("x", 0.01, 0.05)


SECONDS = st.one_of(st.floats(0, 2), NUMBERS)


@fuzz(st.data(), st.lists(st.tuples(SECONDS, SECONDS), max_size=3))
def test_features_of_damaged_recordings(data, segments):
    soundfile.write("good.wav", np.linspace(-1, 1, 8000), 16000)
    Path("bad.wav").write_bytes(data.draw(damaged(Path("good.wav").read_bytes())))
    names = ["bad.wav", "missing.wav", ".", "good.wav"]
    rows = [{"id": f"a{i}", "audio_filepath": name, "duration": 0.5, "text": "a"} for i, name in enumerate(names)]
    for i, (offset, duration) in enumerate(segments):
        row = {"id": f"b{i}", "audio_filepath": "good.wav", "offset": offset, "duration": duration, "text": "a"}
        rows.append(row)
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = ds2("featurize", "in.jsonl", "out.jsonl", "--max-bad", 100, "--nj", 1)
    check_counts(run, "out.jsonl", len(rows))
    assert run.status == 0 and list(Path("feats").glob("*.ark")), str(run)
