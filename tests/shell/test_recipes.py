"""The recipes from their first stage to their last, as a user runs them (minutes, so only in `make test-slow`)."""

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = """
epochs = 2
batch_s = 80.0
[model]
channels = [64]
kernels = [11]
strides = [3]
rnn_layers = 1
rnn_size = 32
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def bash():
    """Run a command with this `ds2` on the PATH; it must succeed. Returns standard output."""

    def run(*words, timeout=3000):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([*map(str, words)], env=env, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "Traceback" not in done.stderr
        return done.stdout

    return run


@pytest.fixture
def prompts(tmp_path):
    """Folder of the Spanish prompts: that of the recipe, or fetched now."""
    corpus = ROOT / "egs/asterisk/corpus/es"
    if corpus.is_dir():
        return corpus
    if not shutil.which("apt-get"):
        pytest.skip(f"no prompts at {corpus}, and no apt-get to fetch them")
    fetched = tmp_path / "corpus"
    command = [sys.executable, "-m", "ds2cli", "prepare", "asterisk", fetched, tmp_path / "all.jsonl"]
    done = subprocess.run([*command, "--lang", "es", "--download"], capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.skip(f"the prompts cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
    return fetched


def scored_sets(stdout):
    """The titles that are followed by a %WER line."""
    return [title for title, line in pairwise(stdout.splitlines()) if title.endswith(":") and line.startswith("%WER ")]


def test_librispeech_mini(bash, shared_data, tmp_path):
    exp = tmp_path / "exp"
    stdout = bash(
        *(ROOT / "egs/librispeech/run.sh", "--mini", "true", "--corpus-dir", shared_data / "LibriSpeech"),
        *("--exp", exp, "--data", tmp_path / "data"),
    )
    assert scored_sets(stdout) == [f"test-{side}, {kind}:" for side in ("clean", "other") for kind in ("greedy", "lm")]
    for name in ("best.safetensors", "last.pt", "lm.arpa", "train.jsonl", "test-clean.lm.scored.jsonl"):
        assert (exp / name).stat().st_size > 0
    assert (exp / "test-other.lm.wer").read_text().startswith("%WER ")


def test_asterisk_in_spanish(bash, prompts, tmp_path):
    exp = tmp_path / "exp"
    conf = tmp_path / "tiny.toml"
    conf.write_text(TINY)
    stdout = bash(
        *(ROOT / "egs/asterisk/run.sh", "--lang", "es", "--corpus", prompts, "--conf", conf),
        *("--exp", exp, "--data", tmp_path / "data"),
    )
    assert scored_sets(stdout) == ["test, greedy:", "test, lm:"]
    assert (exp / "dev.ctm").stat().st_size > 0
    prompt = sorted(prompts.rglob("vm-intro.g722"))[0]
    assert len(bash("ds2", "transcribe", exp, prompt).splitlines()) == 1


def test_asterisk_as_it_goes(bash, prompts, tmp_path):
    """The look-aheads of a forward-only network beside a bidirectional one; the second call trains only the new one."""
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "streaming.toml").write_text(TINY + "bidirectional = false\nrow_conv = 20\n")

    def table(steps):
        stdout = bash(
            *(ROOT / "egs/asterisk/streaming.sh", "--lang", "es", "--corpus", prompts, "--steps", steps),
            *("--conf", tmp_path / "streaming.toml", "--base", tmp_path / "tiny.toml"),
            *("--exp", tmp_path / "exp", "--data", tmp_path / "data"),
        )
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in stdout.splitlines() if "|" in line]

    first = table("2")
    trained = (tmp_path / "exp/2.0/best.safetensors").stat().st_mtime_ns
    again = table("2 0")
    assert again[:4] == first and (tmp_path / "exp/2.0/best.safetensors").stat().st_mtime_ns == trained
    assert [row[:2] for row in again[2:]] == [
        ["bidirectional", "to the end of the utterance"],
        ["2", "110 ms"],
        ["0", "50 ms"],
    ]
    assert all(float(rate) > 0 for row in again[2:] for rate in row[2:7])
    assert 'level_from = "past"' in (tmp_path / "data-streaming/train.feats.jsonl.config.toml").read_text()
