"""egs/an4 from its first stage to its last: on published cepstra, and on CMU's archive."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = """
epochs = 1
[model]
channels = [32]
kernels = [11]
strides = [3]
rnn_layers = 1
rnn_size = 32
input_norm = "utterance"
"""


@pytest.fixture
def recipe(tmp_path):
    """Run the recipe with a network trained for one epoch; returns standard output."""
    (tmp_path / "tiny.toml").write_text(TINY)

    def run(*options, rc=0):
        env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        command = [ROOT / "egs/an4/run.sh", *options, "--conf", tmp_path / "tiny.toml"]
        command += ["--exp", tmp_path / "exp", "--data", tmp_path / "data"]
        done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == rc, done.stdout + done.stderr[-3000:]
        assert "Traceback" not in done.stderr
        return done.stdout if not rc else done.stderr

    return run


def copy_rows(source, out, count):
    """The first rows of a manifest, whose features stay where they are."""
    rows = [json.loads(line) for line in source.read_text().splitlines()[:count]]
    for row in rows:
        row["feats"] = str(source.parent / row["feats"])
    out.parent.mkdir(exist_ok=True)
    out.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return out


def test_cepstra(recipe, shared_data, tmp_path):
    source, cepstra = shared_data / "an4_mfcc", tmp_path / "cepstra"
    copy_rows(source / "train.jsonl", cepstra / "train.jsonl", 60)
    copy_rows(source / "dev.jsonl", cepstra / "dev.jsonl", 8)
    test = copy_rows(source / "dev.jsonl", cepstra / "more.jsonl", 3)
    stdout = recipe("--cepstra", cepstra, "--test", test)
    titles = [line for line in stdout.splitlines() if line.endswith(":")]
    assert titles == ["dev, greedy:", "dev, lm:", "test, greedy:", "test, lm:"] and stdout.count("%WER ") == 4
    exp = tmp_path / "exp"
    settings = (exp / "config.toml").read_text()
    assert "cepstra = true" in settings and 'input_norm = "utterance"' in settings
    assert (exp / "decode.toml").is_file() and len((exp / "test.lm.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("options, sets", [(("--cepstra", "x"), ("dev",)), (("--corpus-dir", "x"), ("dev", "test"))])
def test_dry_run(recipe, options, sets):
    printed = recipe(*options, "--dry-run")
    assert [line for line in printed.splitlines() if line.endswith(", lm:")] == [f"# {name}, lm:" for name in sets]
    assert ("ds2 prepare an4" in printed) == ("--corpus-dir" in options)


def test_the_archive_up_to_training(recipe, shared_data, tmp_path):
    recipe("--corpus-dir", shared_data / "an4", "--stop-stage", "3")
    speakers = {}
    for name in ("train", "dev", "test"):
        rows = (tmp_path / f"data/{name}.jsonl").read_text().splitlines()
        speakers[name] = {json.loads(row)["speaker"] for row in rows}
    assert speakers["dev"] == {"fash"} and not speakers["dev"] & speakers["train"] and speakers["test"]
    assert (tmp_path / "exp/best.safetensors").stat().st_size > 0


def test_what_is_missing_is_named(recipe, tmp_path):
    assert "no recordings: expected --corpus-dir an4, or --cepstra" in recipe(rc=2)
    assert "no train.jsonl in" in recipe("--cepstra", tmp_path, rc=2)
    assert "no folder etc in" in recipe("--corpus-dir", tmp_path, rc=2)
    assert "expected one of them" in recipe("--corpus-dir", tmp_path, "--cepstra", tmp_path, rc=2)
    assert "--test needs --cepstra" in recipe("--corpus-dir", tmp_path, "--test", "x", rc=2)
