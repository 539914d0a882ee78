"""Fixtures of the tests that run many commands in one process, which lacks something."""

import json
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]

# commands one after another in one process; a line of standard output for each: the command and its error
RUN = """
import contextlib, io, json, shlex, sys
{setup}
import typer
from ds2cli.cli.main import app
command = typer.main.get_command(app)
for line in sys.stdin:
    printed, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            command.main(shlex.split(line), prog_name="ds2", standalone_mode=False)
    except (Exception, SystemExit) as e:
        error = repr(e)
    print(json.dumps([line.strip(), error]), flush=True)
print(json.dumps(["modules", " ".join(m for m in ("numba", "scipy") if m in sys.modules)]))
"""

# all but training, on the files of version 0.1.0; its network has features of its own, so it does not transcribe
COMMANDS = """
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


@pytest.fixture
def run_commands(folder):
    """Run commands in one process after `setup`: (setup, commands) → ({command: error, "" if none}, modules loaded)."""

    def run(setup, commands=COMMANDS):
        process = subprocess.run(
            [sys.executable, "-c", RUN.format(setup=setup)], input=commands.strip(), text=True, capture_output=True,
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        *results, (_, modules) = map(json.loads, process.stdout.splitlines())
        assert len(results) == len(commands.strip().splitlines())
        return dict(results), modules.split()

    return run


@pytest.fixture
def failures(run_commands):
    """Those of COMMANDS that fail after `setup`, with their errors."""
    return lambda setup: {command: error for command, error in run_commands(setup)[0].items() if error}
