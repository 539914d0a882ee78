"""`ds2 align --tune` and `--measure`: options that do not apply, and what is printed, stored and applied."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ds2cli import manifest
from ds2cli.config.model import ModelConfig
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.runtime.file import BEST
from ds2cli.text.vocab import BLANK, Vocab

ROOT = Path(__file__).parents[2]
VOCAB = Vocab((BLANK, " ", "a", "b"))
MODEL = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)
FEATURES = {"sample_rate": 16000, "window_ms": 20.0, "hop_ms": 10.0}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with a network that has learned nothing, and clips of noise between quiet parts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp").mkdir()
    torch.manual_seed(0)
    network = dump_model(DeepSpeech2(MODEL, len(VOCAB), 161).state_dict(), MODEL, VOCAB, FEATURES, {})
    (tmp_path / "exp" / BEST).write_bytes(network)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(6):
        samples = np.repeat([1e-4, 0.1, 1e-4], [2000, 8000 + 1000 * i, 2000]) * rng.normal(size=12000 + 1000 * i)
        soundfile.write(f"{i}.wav", samples, 16000, subtype="FLOAT")
        rows.append({"id": f"u{i}", "audio_filepath": f"{i}.wav", "text": "ab b"})
    manifest.write("dev.jsonl", rows)
    manifest.write("test.jsonl", rows)
    manifest.write("split.jsonl", [{**row, "split": "test"} for row in rows])
    manifest.write("few.jsonl", rows[:2])
    manifest.write("bad.jsonl", [*rows[:5], {**rows[5], "audio_filepath": "none.wav"}])
    soundfile.write("noise.wav", 0.1 * rng.normal(size=16000), 16000)
    manifest.write("noisy.jsonl", [{"id": "u0", "audio_filepath": "noise.wav", "text": "a"}])
    manifest.write("silent.jsonl", [{"id": "u0", "text": "a"}])
    return tmp_path


def test_what_is_printed_and_stored_and_then_applied(ds2, place):
    done = ds2("align", "--tune", "exp", "dev.jsonl", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "align --tune: 6 in = 6 kept + 0 dropped" in done.stderr
    assert "stored in exp/align.toml for the word times of ds2 align, decode and transcribe" in done.stderr
    stored = tomllib.loads((place / "exp" / "align.toml").read_text())
    made_by = stored.pop("made_by")
    assert (made_by["made_on"], made_by["clips"], made_by["joins"]) == ("dev.jsonl", 6, 5)
    lines = done.stdout.splitlines()
    assert lines[0] == "errors of word times on dev.jsonl (ms)"
    assert [line.split("  ")[0] for line in lines[2:6]] == [
        "word starts as found",
        "word ends as found",
        "word starts corrected, cross-validated",
        "word ends corrected, cross-validated",
    ]
    assert lines[-1] == f"shift_ms {stored['shift_ms']:.1f} extend_ms {stored['extend_ms']:.1f} *"
    assert "5 joins as found: " in lines[-3]

    (place / "exp" / "align.toml").write_text("shift_ms = 40\nextend_ms = 50\n")
    measured = ds2("align", "--measure", "exp", "test.jsonl", cwd=place)
    assert measured.returncode == 0, measured.stderr
    assert measured.stdout.splitlines()[-1] == "shift_ms 40.0 extend_ms 50.0"
    assert "cross-validated" not in measured.stdout
    assert ds2("align", "--measure", "exp", "test.jsonl", "--shift-ms", 0, cwd=place).stdout.endswith(
        "shift_ms 0.0 extend_ms 50.0\n"
    )

    assert ds2("featurize", "dev.jsonl", "feats.jsonl", "--dir", "feats", cwd=place).returncode == 0
    aligned = {}
    for name, options in {"plain": ("--shift-ms", 0, "--extend-ms", 0), "tuned": ()}.items():
        done = ds2("align", "exp", "feats.jsonl", f"{name}.jsonl", "--chars", *options, cwd=place)
        assert done.returncode == 0, done.stderr
        aligned[name] = list(manifest.read(f"{name}.jsonl"))
    for plain, tuned in zip(aligned["plain"], aligned["tuned"], strict=True):
        for field in ("words", "chars"):
            for before, after in zip(plain[field], tuned[field], strict=True):
                assert after["start"] == pytest.approx(max(before["start"] - 0.04, 0.1 * before["start"]), abs=1e-3)
                assert before["end"] - 0.041 <= after["end"] <= before["end"] + 0.011
    saved = tomllib.loads((place / "tuned.jsonl.config.toml").read_text())
    assert (saved["shift_ms"], saved["extend_ms"]) == (40.0, 50.0)


def test_times_of_decoded_words_are_corrected(ds2, place):
    assert ds2("featurize", "dev.jsonl", "feats.jsonl", "--dir", "feats", cwd=place).returncode == 0
    found = {}
    for shift in (0, 40):
        options = ("--greedy", "--timestamps", "--shift-ms", shift)
        done = ds2("decode", "exp", "feats.jsonl", f"{shift}.jsonl", *options, cwd=place)
        assert done.returncode == 0, done.stderr
        found[shift] = [word for row in manifest.read(f"{shift}.jsonl") for word in row["pred_words"]]
    assert found[0]
    for before, after in zip(found[0], found[40], strict=True):
        assert after["start"] == pytest.approx(max(before["start"] - 0.04, 0.1 * before["start"]), abs=1e-3)
    (place / "exp" / "align.toml").write_text("shift_ms = 40\n")
    done = ds2("decode", "exp", "feats.jsonl", "tuned.jsonl", "--greedy", "--timestamps", cwd=place)
    assert done.returncode == 0, done.stderr
    assert [word for row in manifest.read("tuned.jsonl") for word in row["pred_words"]] == found[40]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--tune", "exp", "test.jsonl"], 2, "test.jsonl is named like a test set"),
        (["--tune", "exp", "split.jsonl"], 2, "u0 has split 'test'"),
        (["--tune", "exp", "dev.jsonl", "out.jsonl"], 2, "no rows: OUT does not apply"),
        (["--tune", "exp", "dev.jsonl", "--gaps"], 2, "no rows: --gaps does not apply"),
        (["--measure", "exp", "dev.jsonl", "--ctm", "a.ctm"], 2, "no rows: --ctm does not apply"),
        (["--tune", "exp", "dev.jsonl", "--shift-ms", 3], 2, "--shift-ms has no effect with --tune"),
        (["--tune", "exp", "dev.jsonl", "--measure"], 2, "--measure has no effect with --tune"),
        (["exp", "dev.jsonl", "--seed", 3], 2, "--seed only applies with --tune or --measure"),
        (["--tune", f"exp/{BEST}", "dev.jsonl"], 2, "is not a folder"),
        (["--tune", "exp", "few.jsonl"], 3, "expected three clips or more with sure edges, found 2"),
        (["--tune", "exp", "bad.jsonl"], 1, "missing-audio"),
        (["--tune", "exp", "silent.jsonl"], 1, "silent.jsonl:1: the field 'audio_filepath' is missing"),
        (["--tune", "exp", "noisy.jsonl"], 3, "expected three clips or more with sure edges, found 0"),
        (["--tune", "exp", "none.jsonl"], 3, "none.jsonl: no such file"),
        (["--tune", "nowhere", "dev.jsonl"], 2, "nowhere is not a folder"),
    ],
)
def test_what_does_not_apply_is_one_line(ds2, place, arguments, status, message):
    done = ds2("align", *arguments, cwd=place)
    assert (done.returncode, message in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "exp" / "align.toml").exists()


def test_a_broken_file_is_one_line(ds2, place):
    (place / "exp" / "align.toml").write_text("shift = 3\n")
    assert ds2("featurize", "dev.jsonl", "feats.jsonl", "--dir", "feats", cwd=place).returncode == 0
    for command in (["align", "exp", "feats.jsonl"], ["decode", "exp", "feats.jsonl", "--timestamps", "--greedy"]):
        done = ds2(*command, cwd=place)
        assert done.returncode == 2
        assert "exp/align.toml: unknown setting 'shift', did you mean 'shift_ms'?" in done.stderr
        assert "Traceback" not in done.stderr
    # a new one replaces it
    assert ds2("align", "--tune", "exp", "dev.jsonl", cwd=place).returncode == 0


def test_the_recipe_prints_errors_and_what_is_reported_of_altered_texts(place):
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    manifest.write("train.jsonl", [{"id": "u0", "text": "a b"}])
    options = ["--exp", place / "exp", "--data", place, "--seeds", 2, "--lengths", "1,2", "--gap-costs", "5,20"]
    command = ["bash", ROOT / "egs/asterisk/junctions.sh", *options]
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (place / "exp" / "align.toml").exists()
    assert (place / "exp" / "test.timing").read_text().startswith("errors of word times on ")
    rows = [line.split(" | ") for line in (place / "exp" / "altered.md").read_text().splitlines() if line[0] == "|"]
    assert [row[:2] for row in rows[2:]] == [
        [f"| {costs}", kind] for costs in ("5, 3", "20, 3") for kind in ("right", "removed", "changed", "added")
    ]
    # 12 clips of 2 words, in 2 orders
    assert [row[2] for row in rows[2:] if row[1] in ("right", "added")] == ["48"] * 4
    assert all((int(row[5]) >= 4) == (row[1] != "right") for row in rows[2:])
