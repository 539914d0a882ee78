"""The recipe of the paper's tables: what it would run, what it refuses, and the smallest table with a tiny network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli import manifest

ROOT = Path(__file__).parents[2]
TINY = """
epochs = 1
batch_s = 80.0
[model]
channels = [8]
rnn_size = 8
fc_size = 8
"""


@pytest.fixture
def paper():
    """Run egs/paper/run.sh with this `ds2` on the PATH; the result has .returncode .stdout .stderr."""

    def run(*words, timeout=300):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        command = [str(ROOT / "egs/paper/run.sh"), *map(str, words)]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout)

    return run


def test_a_dry_run_of_all_tables(paper, tmp_path):
    done = paper("--table", "all", "--dry-run", "true", "--seeds", "4 5", "--exp", tmp_path / "exp", "--nj", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    runs = [line for line in lines if line.startswith("ds2 train ")]
    names = [line.split()[3].rpartition("/")[2] for line in runs]
    assert len(set(names)) == len(names) and "70 of 70 runs are to be trained: about" in done.stdout
    assert [name for name in names if name.endswith(".4")] == names[:35], "one seed after the other"
    assert {"rnn-7+norm=none.4", "gru-5.5", "conv-3x2d.4", "conv-2x2d-68m@10.5", "rnn-100m.4"} <= set(names)
    (part,) = [line for line in runs if "@10.4" in line]
    assert "asterisk/train.10.feats.jsonl" in part and "--config 68m-rnn-7x1760 --config conf/small.toml" in part
    assert not (tmp_path / "exp").exists()


def test_a_dry_run_at_full_scale_estimates_the_time(paper, tmp_path):
    words = ("--table", "6", "--scale", "full", "--gpu", "h100", "--nproc", "8", "--seeds", "1 2", "--dry-run", "true")
    done = paper(*words, "--cmd", "utils/run.sh", "--exp", tmp_path / "exp")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ds2 train ") == 4 and "no estimate" not in done.stdout
    # once per network, not per seed
    assert done.stdout.count("8 x H100") == 2
    assert done.stdout.count("--gpu 8 --time 7-0:00:00") == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected --table 1|2|3"),
        (["--table", "7"], "--table: expected 1, 2, 3, 4, 5, 6, 10, 11 or all, got '7'"),
        (["--table", "1", "--scale", "tiny"], "--scale: expected small or full, got 'tiny'"),
        (["--table", "1", "--data", "asterisk mars"], "got 'mars'"),
        (["--table", "1", "--data", "librispeech"], "with --scale small, got 'librispeech'"),
        (["--table", "4", "--data", "an4"], "the features of --data have 13"),
        (["--table", "1", "--seeds", "one"], "--seeds: expected whole numbers, got 'one'"),
    ],
)
def test_refusals(paper, words, message):
    done = paper(*words)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.long
def test_the_smallest_table_with_a_tiny_network(paper, shared_data, tmp_path):
    """Table 6 on 40 utterances of AN4, twice: the second call trains nothing, and prints the same table."""
    cepstra = tmp_path / "shared/an4_mfcc"
    cepstra.mkdir(parents=True)
    for name, count in (("train", 40), ("dev", 10)):
        rows = list(manifest.read(str(shared_data / f"an4_mfcc/{name}.jsonl")))[:count]
        manifest.write(str(cepstra / f"{name}.jsonl"), rows)
    (tmp_path / "tiny.toml").write_text(TINY)
    exp = tmp_path / "exp"
    words = ("--table", "6", "--data", "an4", "--seeds", "1", "--shared", tmp_path / "shared", "--nj", "2")
    words += ("--quick", tmp_path / "tiny.toml", "--exp", exp, "--store", tmp_path / "data")
    first = paper(*words)
    assert first.returncode == 0, first.stderr
    assert "2 of 2 runs are to be trained" in first.stderr
    (row,) = [line for line in first.stdout.splitlines() if line.startswith("| 9 layers, 7 RNN |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "14.93" and cells[3] == "9.52"
    rates = [(exp / f"small/an4/rnn-7.1/dev.{search}.wer").read_text() for search in ("greedy", "lm")]
    assert [f"{float(rate.split()[1]):.1f}" for rate in rates] == [cells[2], cells[4]]
    trained = (exp / "small/an4/rnn-7.1/best.safetensors").stat().st_mtime_ns
    again = paper(*words, "--stage", "2")
    assert again.returncode == 0, again.stderr
    assert "0 of 2 runs are to be trained" in again.stderr and again.stdout == first.stdout
    assert (exp / "small/an4/rnn-7.1/best.safetensors").stat().st_mtime_ns == trained


@pytest.mark.slow
def test_recordings_with_noise(tmp_path):
    """Three copies for training, of which some have noise; a noisy copy of each recording of dev, with other noise."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        (tmp_path / "noise").mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"noise/{name}.wav", rng.normal(0, 0.1, 32000), 16000)
    data = tmp_path / "set"
    data.mkdir()
    for part, count in (("text", 12), ("dev", 3)):
        rows = [
            {"id": f"{part}{i:02d}", "audio_filepath": str(data / f"{part}{i}.wav"), "duration": 1.0}
            for i in range(count)
        ]
        for row in rows:
            soundfile.write(row["audio_filepath"], 0.1 * np.sin(np.arange(16000) / 9), 16000)
        manifest.write(str(data / f"{part}.jsonl"), [{**row, "text": "x"} for row in rows])

    def script(name, *words):
        env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        command = [str(ROOT / "egs/paper/local" / name), *map(str, words)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, cwd=ROOT / "egs/paper")
        assert done.returncode == 0, done.stderr

    script("noise.sh", tmp_path / "noise", tmp_path / "lists")
    names = {
        part: [row["id"] for row in manifest.read(str(tmp_path / f"lists/{part}.jsonl"))] for part in ("train", "dev")
    }
    assert names == {"train": ["b", "c"], "dev": ["a", "d"]}
    script("augment.sh", data, tmp_path / "lists")
    train = list(manifest.read(str(data / "train.jsonl")))
    assert [row["id"] for row in train[:3]] == ["text00~0", "text00~1", "text00~2"] and len(train) == 36
    assert {round(row["duration"], 2) for row in train} == {0.91, 1.0, 1.11}
    effects = "".join((data / f"augmented/{copy}.txt").read_text() for copy in "012")
    assert 5 <= effects.count("noise at") <= 24
    noisy = (data / "augmented/noisy.txt").read_text()
    assert noisy.count("noise at") == 3 and "speed" not in noisy
    made = (data / "train.jsonl").stat().st_mtime_ns
    script("augment.sh", data, tmp_path / "lists")
    assert (data / "train.jsonl").stat().st_mtime_ns == made
