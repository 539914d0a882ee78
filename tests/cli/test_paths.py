"""A path that leads nowhere, in any argument or option, is one line that names it, and no traceback."""

import signal
import sys

import pytest
import typer

from ds2cli.cli import main as cli
from ds2cli.cli.main import app

pytestmark = pytest.mark.long

LONG = "n" * 300
"""Longer than a file name may be."""
PATHS = {"LOOP": "too many levels of symbolic links", LONG: "file name too long", "FILE/x": "not a directory"}

INPUTS = (
    "data validate {}",
    "data validate a.jsonl {}",
    "data validate a.jsonl --train-config {}",
    "data validate a.jsonl --train-config 100m-rnn-7x2112 --features {}",
    "data sort {} -",
    "data fix {} -",
    "data subset {} -",
    "data subset a.jsonl - --ids {}",
    "data split {} p.JOB",
    "data overlap a.jsonl {}",
    "data combine a.jsonl {} -",
    "data show {}",
    "data stats {}",
    "data augment {} d",
    "data augment a.jsonl d --config {}",
    "prepare folder {} -",
    "prepare csv {} -",
    "prepare librispeech {} -",
    "featurize {} o.jsonl",
    "featurize a.jsonl o.jsonl --config {}",
    "train {} EXP",
    "train a.jsonl EXP --features {}",
    "score {}",
    "score a.jsonl --ref {}",
    "lm {} o.arpa",
    "lm mix {} {} o.arpa --weights 0.5,0.5",
    "lm info {}",
    "plan {}",
    "doctor ctc {}",
)
OUTPUTS = (
    "data sort a.jsonl {}",
    "data sort a.jsonl - --dropped {}",
    "data validate a.jsonl --report {}",
    "data combine a.jsonl {}",
    "data split a.jsonl {}/JOB --parts 1",
    "featurize a.jsonl {}",
    "score a.jsonl {}",
    "lm a.jsonl {}/o.arpa",
)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in this process: its exit status and the last line of standard error."""
    monkeypatch.chdir(tmp_path)
    row = '{"id":"a","text":"so am i","pred_text":"so","audio_filepath":"a.wav"}\n'
    (tmp_path / "a.jsonl").write_text(row)
    (tmp_path / "LOOP").symlink_to("LOOP")
    (tmp_path / "FILE").touch()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    # assembled once: that takes longer than running a command
    monkeypatch.setattr(cli, "app", COMMAND)

    def run(line):
        monkeypatch.setattr(sys, "argv", ["ds2", *line.split()])
        with pytest.raises(SystemExit) as e:
            cli.main()
        return e.value.code, capsys.readouterr().err.splitlines()[-1]

    return run


COMMAND = typer.main.get_command(app)


@pytest.mark.parametrize("path", PATHS, ids=["loop", "long name", "below a file"])
def test_every_input_that_cannot_be_opened_is_named(run, path):
    for command in INPUTS:
        status, line = run(command.format(path, path))
        assert status in (2, 3) and line == f"ds2: {path}: {PATHS[path]}", f"{command}: {line}"


@pytest.mark.parametrize("path", PATHS, ids=["loop", "long name", "below a file"])
def test_every_output_that_cannot_be_written_is_named(run, tmp_path, path):
    before = sorted(tmp_path.iterdir())
    for command in OUTPUTS:
        status, line = run(command.format(path))
        assert status == 3 and line.startswith(f"ds2: {path}"), f"{command}: {line}"
        assert ("FILE is a file" if path == "FILE/x" else PATHS[path]) in line, f"{command}: {line}"
    assert sorted(tmp_path.iterdir()) == before
