"""The scripts of egs/asterisk/long.sh: a recording with known contents, and the table of what is kept of it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli import manifest
from ds2cli.metrics.alignment import align_words

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "egs/asterisk/local"
RATE = 16000
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def python(script, *args):
    command = [sys.executable, LOCAL / script, *args]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """30 clips of known text, and a recording made of them."""
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(0)
    rows, lines = [], []
    for i in range(30):
        path = folder / "corpus/en_X" / f"clip{i:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.uniform(-0.5, 0.5, RATE + 800 * i), RATE, "PCM_16")
        words = NUMBERS[i % 10 :][:3] + NUMBERS[: i // 10]
        row = {"id": f"en_X-clip{i:02d}", "audio_filepath": str(path), "text": " ".join(words), "speaker": "en_X"}
        rows.append({**row, "lang": "en", "split": ("train", "dev", "test")[i % 3]})
        lines.append(f"clip{i:02d}: {' '.join(words).capitalize()}. [@]\n")
    (folder / "corpus/core-sounds-en.txt").write_text("".join(lines))
    manifest.write(str(folder / "all.jsonl"), rows)
    python("make_long.py", folder / "all.jsonl", folder / "out", "--hours", "0.05", "--files", "2", "--wer", "15")
    return folder


def test_clips_are_where_the_truth_says(recording):
    truth = list(manifest.read(str(recording / "out/truth.jsonl")))
    samples, rate = soundfile.read(recording / "out/long.wav", dtype="float32")
    assert rate == RATE and len(samples) >= 0.05 * 3600 * RATE
    clips = [row for row in truth if row["text"]]
    starts = [row["start"] for row in clips]
    assert starts == sorted(starts)
    compared = 0
    for row in clips:
        if row["speed"] == 1.0:
            clip, _ = soundfile.read(recording / "corpus/en_X" / f"{row['clip'][-6:]}.wav", dtype="float32")
            begin = round(row["start"] * RATE)
            # the background has a standard deviation of 0.001
            assert np.abs(samples[begin : begin + len(clip)] - clip).max() < 0.01
            assert row["end"] - row["start"] == pytest.approx(len(clip) / RATE)
            compared += 1
    assert compared > 5
    assert {row["speed"] for row in clips} == {0.9, 1.0, 1.1}


def test_the_transcript_is_as_wrong_as_asked_for(recording):
    truth = list(manifest.read(str(recording / "out/truth.jsonl")))
    (row,) = manifest.read(str(recording / "out/long.jsonl"))
    assert row["text"].split() == [word for clip in truth for word in clip["transcript"].split()]
    errors = align_words([clip["text"] for clip in truth], [clip["transcript"] for clip in truth]).total()
    assert 15 <= errors.rate < 25
    for clip in truth:
        assert (clip["text"] == clip["transcript"]) == (not clip["kind"])
        assert clip["kind"] != "removed" or not clip["transcript"]
        assert clip["kind"] != "added" or not clip["text"]


def test_files_and_book_are_the_same_recording(recording):
    truth = [row for row in manifest.read(str(recording / "out/truth.jsonl")) if row["text"]]
    files = [soundfile.read(path, dtype="int16")[0] for path in sorted((recording / "out/files").iterdir())]
    assert len(files) == 2
    whole = soundfile.read(recording / "out/long.wav", dtype="int16")[0]
    np.testing.assert_array_equal(np.concatenate(files), whole)
    book = (recording / "out/book.txt").read_text().splitlines()
    assert book == [f"{row['text'].capitalize()}." for row in truth]


def test_a_seed_gives_the_same_recording_again(recording):
    other = recording / "again"
    python("make_long.py", recording / "all.jsonl", other, "--hours", "0.05", "--files", "2", "--wer", "15")
    for name in ("long.wav", "truth.jsonl", "book.txt"):
        assert (other / name).read_bytes() == (recording / "out" / name).read_bytes()


def test_table_of_known_segments(tmp_path):
    words = [{"word": word, "start": 0.1 + i, "end": 0.9 + i} for i, word in enumerate(["a", "b"])]
    manifest.write(str(tmp_path / "clips.jsonl"), [{"id": "c", "words": words}])
    common = {"clip": "c", "speed": 1.0}
    truth = [
        {"id": "0", "start": 0.0, "end": 2.0, "text": "a b", "transcript": "a b", "kind": "", "split": "train"},
        {"id": "1", "start": 4.0, "end": 6.0, "text": "a b", "transcript": "x", "kind": "changed", "split": "train"},
        {"id": "2", "start": 8.0, "end": 10.0, "text": "a b", "transcript": "a b", "kind": "", "split": "test"},
    ]
    manifest.write(str(tmp_path / "truth.jsonl"), [{**row, **common} for row in truth])
    segments = [
        {"id": "0", "recording": "r", "offset": 0.0, "duration": 3.0, "text": "a b"},
        {"id": "1", "recording": "r", "offset": 4.0, "duration": 2.0, "text": "x"},
        {"id": "2", "recording": "r", "offset": 8.0, "duration": 1.0, "text": "a"},
    ]
    manifest.write(str(tmp_path / "segments.jsonl"), segments)
    gap = {"start": 3.0, "end": 7.0, "text": "x", "heard": "a b"}
    said = [{"word": word, "start": at, "end": at + 0.8} for word, at in [("a", 0), ("b", 1), ("a", 8), ("b", 9)]]
    manifest.write(str(tmp_path / "aligned.jsonl"), [{"id": "r", "duration": 11.0, "words": said, "gaps": [gap]}])
    steps = [f"align={tmp_path / 'aligned.jsonl'}", f"segment={tmp_path / 'segments.jsonl'}"]
    manifest.write(str(tmp_path / "nothing.jsonl"), [])
    steps.append(f"filter={tmp_path / 'nothing.jsonl'}")
    lines = python("long_table.py", tmp_path / "truth.jsonl", tmp_path / "clips.jsonl", *steps).splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines]
    assert lines[0] == "0.00 h of speech, 0.00 h of it with the right text (train, test)"
    assert cells[4] == [
        "transcript",
        "3",
        "0.00",
        "2.0 (2.0-2.0)",
        "66.7",
        "100.0 (100.0, 100.0)",
        "33.33 (50.00, 0.00)",
    ]
    # between 0 and 3 s, and 7 and 11 s
    assert cells[5] == ["align", "2", "0.00", "3.5 (3.0-4.0)", "100.0", "100.0 (100.0, 100.0)", "0.00 (0.00, 0.00)"]
    # of the last clip, only the first word
    assert cells[6] == ["segment", "3", "0.00", "2.0 (1.0-3.0)", "66.7", "75.0 (100.0, 50.0)", "40.00 (50.00, 0.00)"]
    assert cells[7] == ["filter", "0", *["-"] * 5]
