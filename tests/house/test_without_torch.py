"""Commands that train nothing load no torch, which takes seconds: here they run where it cannot be imported."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]

# commands one after another in one process; a line of standard output for each: its exit status and its error
RUN = """
import contextlib, io, json, shlex, sys
sys.modules["torch"] = None
import typer
from ds2cli.cli.main import app
command = typer.main.get_command(app)
for line in sys.stdin:
    out, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            command.main(shlex.split(line), prog_name="ds2", standalone_mode=False)
    except (Exception, SystemExit) as e:
        error = repr(e)
    print(json.dumps([line.strip(), error]), flush=True)
print(json.dumps(["modules", " ".join(m for m in ("numba", "scipy") if m in sys.modules)]))
"""

# of the files of version 0.1.0, whose network has features of its own, so that it only emits from features
WITHOUT = """
prepare folder recordings wav.jsonl
featurize wav.jsonl feats.jsonl --dir feats
lm train.jsonl 2gram.arpa --order 2 --estimator own
lm mix 2gram.arpa exp/lm.arpa mixed.arpa --dev dev.jsonl
lm info mixed.arpa dev.jsonl --vocab exp
data stats dev.jsonl
data sort dev.jsonl sorted.jsonl
decode exp dev.emit.jsonl greedy.jsonl --greedy
decode exp dev.emit.jsonl beam.jsonl --lm exp/lm.arpa --timestamps --nbest 2
decode exp dev.emit.jsonl --tune --lm exp/lm.arpa --set alphas=[0.5] --set betas=[0] --set unknowns=[-2]
align exp dev.emit.jsonl aligned.jsonl --ctm words.ctm
score greedy.jsonl scored.jsonl
score beam.jsonl why.jsonl --why exp
score --compare greedy.jsonl beam.jsonl
rover greedy.jsonl beam.jsonl combined.jsonl
"""
WITH = "plan train.jsonl --config train.toml"


@pytest.fixture
def folder(tmp_path):
    """The experiment, manifests and emissions of version 0.1.0, and a recording with its text."""
    folder = Path(shutil.copytree(ROOT / "tests" / "golden" / "v0.1", tmp_path / "v0.1"))
    (folder / "recordings").mkdir()
    with wave.open(str(folder / "recordings" / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((3000 * np.sin(np.arange(16000) / 5)).astype("<i2").tobytes())
    (folder / "recordings" / "a.txt").write_text("hello")
    return folder


def run(folder, commands):
    process = subprocess.run(
        [sys.executable, "-c", RUN], input=commands.strip(), text=True, capture_output=True, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    *results, (_, modules) = map(json.loads, process.stdout.splitlines())
    return dict(results), modules.split()


def test_these_commands_need_no_torch(folder):
    results, _ = run(folder, WITHOUT)
    assert results == dict.fromkeys(WITHOUT.strip().splitlines(), "")


def test_a_command_that_needs_torch_fails_here(folder):
    """So the test above can fail."""
    results, _ = run(folder, WITH)
    assert "torch" in results[WITH]


@pytest.mark.parametrize("command", ["data stats dev.jsonl", "data sort dev.jsonl sorted.jsonl"])
def test_these_commands_need_neither_numba_nor_scipy(folder, command):
    assert run(folder, command) == ({command: ""}, [])
