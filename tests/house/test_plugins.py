"""A corpus, a command, a feature or a model is one new file: a dummy of each is found in a folder of plugins."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import safe_open

from ds2cli.plugins import search_path

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
    listed = ds2("prepare", "--help").stdout
    assert re.search(r"^  dummy +Dummy: WAV files that all say the same.$", listed, re.MULTILINE)
    done = ds2("prepare", "dummy", "--help")
    assert "Text of every recording.  [default: hello]" in done.stdout
    assert "  Source     SRC is a folder of WAV files.\n" in done.stdout
    assert re.search(r"expected one of .*csv, dummy, folder", ds2("prepare", "dumy", "x").stderr)


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
        ("cli/lib.py", "the name is taken by ds2cli (rename the file)"),
        ("feats/cmvn.py", "the name is taken by ds2cli (rename the file)"),
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
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.touch()
    wrong = {tmp_path / "none": "does not exist", file: "is not a folder", folder: "has none of the folders corpora, "}
    for folder, problem in wrong.items():
        monkeypatch.setenv("DS2_PLUGINS", str(folder))
        done = ds2("--help")
        assert done.returncode == 2
        assert done.stderr.startswith(f"ds2: DS2_PLUGINS: {folder}: {problem}")


@pytest.mark.parametrize(
    "file, text, command, message",
    [
        (
            "cli/x.py",
            "a = 1\ndef x(:\n",
            ["--version"],
            ":2: this plugin cannot be imported: SyntaxError: invalid syntax",
        ),
        ("cli/x-y.py", "a = 1\n", ["--version"], ": expected a function `x_y`, or a Typer group `app`"),
        (
            "corpora/x.py",
            "import ds2cli\nimport nix\n",
            ["prepare", "--help"],
            ":2: this plugin cannot be imported: Mod",
        ),
        (
            "corpora/x.py",
            "a = 1\n",
            ["prepare", "x", "."],
            ": this plugin has no `Options` and no `prepare` (see ds2cli/",
        ),
        (
            "feats/x.py",
            "Config = 1\n",
            ["featurize", "--kind", "x"],
            ": this plugin has no `num_bins` and no `num_frames`",
        ),
        (
            "models/x.py",
            "Config = Model = 1\n",
            ["train", "a", "b", "--set", "model.kind=x"],
            ": expected `kind: str = s",
        ),
    ],
)
def test_a_broken_plugin_is_an_error(ds2, monkeypatch, tmp_path, file, text, command, message):
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(text)
    monkeypatch.setenv("DS2_PLUGINS", str(tmp_path))
    done = ds2(*command)
    assert done.returncode == 2
    assert done.stderr.startswith(f"ds2: {tmp_path / file}{message}") and done.stderr.count("\n") == 1


def test_a_name_with_an_underscore_is_for_other_files(ds2, monkeypatch, tmp_path):
    """Of a name with a dash, the function has an underscore."""
    for folder in ("cli", "corpora"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "_shared.py").write_text(f"NAME = {folder!r}\n")
    command = "from ds2cli.cli._shared import NAME\n\n\ndef say_it():\n    print(NAME)\n"
    (tmp_path / "cli/say-it.py").write_text(command)
    monkeypatch.setenv("DS2_PLUGINS", str(tmp_path))
    assert ds2("say-it").stdout == "cli\n"
    assert "_shared" not in ds2("prepare", "--help").stdout


def test_dummy_model(ds2, jsonl, plugins, toy, tmp_path):
    """Trained, resumed with two processes, shown, emitted and decoded; resuming as another kind is refused."""
    exp, conf = tmp_path / "exp", tmp_path / "c.toml"
    conf.write_text('batch_s = 2.0\n[optim]\nlr = 0.02\n[model]\nkind = "dummy"\nunits = 24\n')
    train = ("train", toy / "train.jsonl", exp, "--dev", toy / "dev.jsonl", "--config", conf)
    done = ds2(*train, "--epochs", 2, "--set", "model.splice=4")
    assert done.returncode == 0, done.stderr
    assert '[model]\nkind = "dummy"\nsplice = 4\nunits = 24\n' in (exp / "config.toml").read_text()
    before = jsonl(exp / "train.jsonl")
    done = ds2(*train, "--epochs", 8, "--set", "model.splice=4", "--nproc", 2)
    assert done.returncode == 0, done.stderr
    after = jsonl(exp / "train.jsonl")
    assert after[:2] == before and len(after) == 8 and after[-1]["loss"] < 0.5 * after[0]["loss"]
    shown = json.loads(ds2("model", "show", exp, "--json").stdout)
    assert [layer["name"] for layer in shown["layers"]] == ["hidden", "output"]
    assert (shown["stride"], shown["step_ms"], shown["look_ahead_ms"]) == (4, 40.0, 30.0)
    done = ds2("emit", exp, toy / "dev.jsonl", tmp_path / "emitted.jsonl")
    assert done.returncode == 0, done.stderr
    done = ds2("decode", "--greedy", exp, tmp_path / "emitted.jsonl", tmp_path / "decoded.jsonl")
    assert done.returncode == 0, done.stderr
    rows = jsonl(tmp_path / "decoded.jsonl")
    assert sum(row["pred_text"] == row["text"] for row in rows) >= len(rows) / 2
    done = ds2(*train[:5], "--epochs", 8, "--set", "batch_s=2.0", "--set", "optim.lr=0.02")
    assert done.returncode == 2
    problem = "was trained with other settings: model.kind was dummy, is ds2 (use another folder, or --fresh to start"
    assert problem in done.stderr


def test_dummy_feature(ds2, jsonl, plugins, wav, tmp_path):
    """Featurized in two processes, trained on stored features and on those of recordings, stored with the network."""
    rows = [{"id": c, "audio_filepath": f"wav/{c}.wav", "duration": 0.5, "text": f"{c} a"} for c in "abc"]
    source, out, exp = jsonl(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", tmp_path / "exp"
    done = ds2("featurize", source, out, "--kind", "dummy", "--set", "parts=5", "--nj", 2)
    assert done.returncode == 0, done.stderr
    featurized = jsonl(out)
    assert [r["num_frames"] for r in featurized] == [51, 51, 51]
    assert "parts = 5" in (tmp_path / "out.jsonl.config.toml").read_text()
    jsonl(out, [*featurized[:2], rows[2]])
    small = "epochs = 1\n[model]\nchannels = [8]\nkernels = [3]\nstrides = [2]\nrnn_layers = 1\nrnn_size = 8\n"
    (tmp_path / "small.toml").write_text(small)
    done = ds2("train", out, exp, "--dev", out, "--config", tmp_path / "small.toml", "--set", "augment.gain_db=0.0")
    assert done.returncode == 0, done.stderr
    assert "6 in = 6 kept" in done.stderr
    with safe_open(exp / "best.safetensors", "np") as network:
        features = json.loads(network.metadata()["ds2cli"])["features"]
        assert network.get_tensor("mean").shape == (5,)
    assert (features["kind"], features["parts"]) == ("dummy", 5)
    done = ds2("transcribe", exp, wav / "a.wav", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["duration"] == 0.5


def test_an_unknown_feature_is_an_error(ds2, jsonl, tmp_path):
    source = jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": "a"}])
    (tmp_path / "in.jsonl.config.toml").write_text('kind = "dummy"\n')
    done = ds2("train", source, tmp_path / "exp")
    assert done.returncode == 2
    problem = f"{source}.config.toml: unknown kind of features 'dummy', expected one of fbank, spectrogram"
    assert done.stderr == f"ds2: {problem} (DS2_PLUGINS adds those of plugins)\n"


def test_a_folder_may_be_relative_or_in_the_home_folder(monkeypatch, tmp_path):
    for name in ("own", "work"):
        (tmp_path / name / "corpora").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DS2_PLUGINS", "~/own:work")
    # absolute: a child process may start in another folder
    assert search_path("corpora") == [f"{tmp_path}/own/corpora", f"{tmp_path}/work/corpora"]
    assert search_path("cli") == []
