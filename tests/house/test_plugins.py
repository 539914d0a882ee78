"""A corpus, a command, a feature or a model is one new file: a dummy of each is found in a folder of plugins."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture
def plugins(monkeypatch):
    monkeypatch.setenv("DS2_PLUGINS", str(PLUGINS))


@pytest.fixture
def wav(tmp_path):
    """Folder of three recordings of half a second."""
    folder = tmp_path / "wav"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "bac":
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.normal(size=8000), 16000)
    return folder


def test_dummy_corpus(ds2, jsonl, plugins, wav, tmp_path):
    done = ds2("prepare", "dummy", wav, tmp_path / "out.jsonl", "--greeting", "Good day!", "--check", "header")
    assert done.returncode == 0, done.stderr
    rows = jsonl(tmp_path / "out.jsonl")
    assert [(r["id"], r["text"], r["duration"]) for r in rows] == [(c, "good day", 0.5) for c in "abc"]
    assert 'greeting = "Good day!"' in (tmp_path / "out.jsonl.config.toml").read_text()
    (tmp_path / "c.toml").write_text('greeting = "Seven at 7"\n')
    done = ds2("prepare", "dummy", wav, tmp_path / "refused.jsonl", "--config", tmp_path / "c.toml")
    assert done.returncode == 1
    assert "3 digits" in done.stderr and "--numbers" not in done.stderr
    assert ds2("prepare", "dummy", wav, "--numbers", "spell").returncode == 2


def test_dummy_corpus_in_help(ds2, plugins):
    assert "  dummy        Dummy: WAV files that all say the same.\n" in ds2("prepare", "--help").stdout
    done = ds2("prepare", "dummy", "--help")
    assert "Text of every recording.  [default: hello]" in done.stdout
    assert "  Source     SRC is a folder of WAV files.\n" in done.stdout
    assert "expected one of asterisk, csv, dummy, folder, librispeech" in ds2("prepare", "dumy", "x").stderr


def test_dummy_command(ds2, plugins):
    row = '{"id":"a","text":"uryyb"}\n'
    done = ds2("dummy", stdin=row)
    assert (done.returncode, done.stdout) == (0, '{"id":"a","text":"hello"}\n')
    assert ds2("dummy", "--shift", 1, stdin=row).stdout == '{"id":"a","text":"vszzc"}\n'
    assert "shift: expected 1 to 25, got 26" in ds2("dummy", "--set", "shift=26", stdin=row).stderr
    assert "shift = 13" in ds2("dummy", "--print-config").stdout
    assert "  dummy       Shift the letters of each text in the alphabet.\n" in ds2("--help").stdout


def test_without_the_variable_there_are_no_dummies(ds2):
    assert "dummy" not in ds2("--help").stdout
    assert "unknown corpus 'dummy'" in ds2("prepare", "dummy", "x").stderr


def test_two_folders_of_plugins(ds2, monkeypatch, tmp_path):
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora/silence.py").write_text((PLUGINS / "corpora/dummy.py").read_text())
    # a relative folder, an empty entry and a repeated folder
    monkeypatch.setenv("DS2_PLUGINS", f"{os.path.relpath(tmp_path)}::{PLUGINS}:{PLUGINS}")
    listed = ds2("prepare", "--help").stdout
    assert "  dummy  " in listed and "  silence  " in listed


@pytest.mark.parametrize(
    "file, message",
    [
        ("corpora/csv.py", "the name is taken by ds2cli (rename the file)"),
        ("models/ds2.py", "the name is taken by ds2cli (rename the file)"),
        ("cli/main.py", "the name is taken by ds2cli (rename the file)"),
        ("corpora/dummy.py", f"the name is taken by {PLUGINS} (rename the file)"),
    ],
)
def test_a_name_used_twice_is_an_error(ds2, monkeypatch, tmp_path, file, message):
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text("raise RuntimeError('imported')\n")
    monkeypatch.setenv("DS2_PLUGINS", f"{PLUGINS}:{tmp_path}")
    done = ds2("prepare", "--help")
    assert done.returncode == 2
    assert done.stderr == f"ds2: DS2_PLUGINS: {tmp_path / file}: {message}\n"


def test_a_wrong_folder_is_an_error(ds2, monkeypatch, tmp_path):
    for folder, problem in ((tmp_path / "none", "no such folder"), (tmp_path, "has none of the folders corpora, ")):
        monkeypatch.setenv("DS2_PLUGINS", str(folder))
        done = ds2("--help")
        assert done.returncode == 2
        assert done.stderr.startswith(f"ds2: DS2_PLUGINS: {folder}: {problem}")
