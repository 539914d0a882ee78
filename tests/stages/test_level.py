"""The levels of recordings."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from ds2cli.drops import Ledger
from ds2cli.stages.level import measure_levels, summarize


def write(path, level_db, seconds=1.0, rate=16000):
    """A tone of this level."""
    samples = np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate) * 10 ** (level_db / 20) * np.sqrt(2)
    soundfile.write(path, samples, rate, "FLOAT")
    return {"id": path.stem, "audio_filepath": str(path)}


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_levels_are_those_of_the_recordings(tmp_path, rate):
    rows = [write(tmp_path / f"é{level}.wav", level, rate=rate) for level in (-40, -20, -30)]
    ledger = Ledger()
    levels = list(measure_levels(rows, ledger))
    assert levels == [pytest.approx(level, abs=0.05) for level in (-40, -20, -30)]
    assert ledger.kept == 3


def test_a_segment_has_its_own_level(tmp_path):
    samples = np.concatenate([np.full(16000, 0.1), np.full(16000, 0.001)])
    soundfile.write(tmp_path / "a.wav", samples, 16000, "FLOAT")
    row = {"id": "a", "audio_filepath": str(tmp_path / "a.wav"), "offset": 1.25, "duration": 0.5}
    assert list(measure_levels([row], Ledger())) == [pytest.approx(-60, abs=0.01)]


def test_recordings_without_a_level_are_dropped(tmp_path):
    soundfile.write(tmp_path / "zero.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(16000, np.nan), 16000, "FLOAT")
    rows = [{"id": name, "audio_filepath": str(tmp_path / f"{name}.wav")} for name in ("zero", "nan", "missing")]
    ledger = Ledger()
    assert list(measure_levels([*rows, {"id": "text"}], ledger)) == []
    assert [row["reason"] for row in ledger.rows][:2] == ["silence", "not-a-number"]
    assert ledger.bad == 4


def test_summary():
    assert summarize([-30.0, -20.04, -10.0]) == {
        "utterances": 3,
        "lowest": -30.0,
        "mean": -20.0,
        "highest": -10.0,
        "standard_deviation": 8.2,
    }
    assert summarize([-17.25])["standard_deviation"] == 0


def test_command(ds2, jsonl, tmp_path):
    rows = [write(tmp_path / f"{name}.wav", level) for name, level in (("a", -20), ("b", -30))]
    path = jsonl(tmp_path / "in.jsonl", rows)
    done = ds2("data", "level", path)
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["utterances", "2"],
        ["lowest", "-30.0"],
        ["mean", "-25.0"],
        ["highest", "-20.0"],
        ["standard_deviation", "5.0"],
    ]
    assert "2 in = 2 kept + 0 dropped" in done.stderr
    bad = jsonl(tmp_path / "bad.jsonl", [*rows, {"id": "c", "audio_filepath": "none.wav"}])
    done = ds2("data", "level", bad)
    assert (done.returncode, done.stdout) == (1, "") and "refused: 1 of 3" in done.stderr
    assert ds2("data", "level", bad, "--max-bad", "40").returncode == 0
    only_bad = jsonl(tmp_path / "only.jsonl", [{"id": "c", "audio_filepath": "none.wav"}])
    assert ds2("data", "level", only_bad, "--max-bad", "100").returncode == 1
    assert ds2("data", "level", "-", stdin="").returncode == 3
