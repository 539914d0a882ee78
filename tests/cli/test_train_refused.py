"""A training that is refused leaves in its folder what the training before it has written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ds2cli import manifest
from ds2cli.cli.main import app
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.io import FolderLock

pytestmark = pytest.mark.long

SMALL = """
epochs = 1
batch_s = 10.0
[model]
channels = [8]
kernels = [5]
strides = [2]
rnn_layers = 1
rnn_size = 8
"""


def train(*arguments):
    """Run `ds2 train` in this process; returns its error, None if it succeeds."""
    return CliRunner().invoke(app, ["train", *map(str, arguments)]).exception


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def place(toy, tmp_path_factory):
    """A folder with a configuration, damaged manifests and the experiment `exp`."""
    place = tmp_path_factory.mktemp("place")
    (place / "small.toml").write_text(SMALL)
    rows, dev = (list(manifest.read(str(toy / f"{name}.jsonl"))) for name in ("train", "dev"))
    bad = [{**row, "text": ""} if i % 4 == 0 else row for i, row in enumerate(rows)]
    for name, content in {
        "train": rows,
        "dev": dev,
        "bad": bad,
        "all-bad": [{**row, "text": ""} for row in rows],
        "others": rows[1:],
        "other-letters": [{**row, "text": "xyz zyx"} for row in dev],
        "empty": [],
    }.items():
        manifest.write(str(place / f"{name}.jsonl"), content)
    assert train(*options(place)) is None
    return place


def options(place, *, data="train", dev="dev", exp="exp"):
    return (place / f"{data}.jsonl", place / exp, "--dev", place / f"{dev}.jsonl", "--config", place / "small.toml")


@pytest.fixture
def exp(place, tmp_path):
    return shutil.copytree(place / "exp", tmp_path / "exp")


REFUSED = {
    "too many bad rows": ({"data": "bad"}, [], Ds2Error, "refused: 12 of 56 utterances are bad"),
    "no usable row": ({"data": "all-bad"}, [], DataError, "no utterance can be used"),
    "no dev row": ({"dev": "empty"}, [], DataError, "the dev manifest has no rows"),
    "other data": ({"data": "others"}, [], UsageError, "was trained on other utterances"),
    "other dev set": ({"dev": "train"}, [], UsageError, "was evaluated on another dev set"),
    "other settings": (
        {},
        ["--set", "model.rnn_size=9"],
        UsageError,
        "was trained with other settings: model.rnn_size",
    ),
    "dev texts": ({"dev": "other-letters"}, ["--fresh"], DataError, "the network cannot write"),
    "statistics": ({}, ["--fresh", "--cmvn", "missing.ark"], DataError, "missing.ark: no such file"),
    "initial network": ({}, ["--fresh", "--init", "missing"], DataError, "missing"),
    "processes": ({}, ["--fresh", "--nproc", "99"], UsageError, "--nproc 99"),
    "setting": ({}, ["--fresh", "--set", "optim.lr=x"], UsageError, "optim.lr"),
    "network": ({}, ["--fresh", "--set", "model.rnn_size=9999999"], Ds2Error, ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_training_leaves_the_one_before_it(place, exp, name):
    files, arguments, error, message = REFUSED[name]
    before = contents(exp)
    found = train(*options(place, exp=exp, **files), *arguments)
    assert isinstance(found, error) and message in str(found), found
    after = contents(exp)
    listed = after.pop("refused.jsonl", None)
    assert after == before
    assert (listed or b"").count(b"no-text") == (12 if name == "too many bad rows" else 0)


def test_what_the_folder_itself_refuses_changes_nothing_in_it(place, exp, monkeypatch):
    lock, before = FolderLock(str(exp), ""), contents(exp)
    assert "another ds2 train is running there" in str(train(*options(place, exp=exp), "--fresh"))
    lock.release()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "TensorBoard is not installed" in str(train(*options(place, exp=exp), "--fresh", "--tensorboard"))
    monkeypatch.undo()
    assert contents(exp) == before
    for name, damaged in (("last.pt", b"PK"), ("train.jsonl", b"[1]\n")):
        whole = (exp / name).read_bytes()
        (exp / name).write_bytes(damaged)
        assert name in str(train(*options(place, exp=exp), "--epochs", "2"))
        (exp / name).write_bytes(whole)
        assert contents(exp) == before


def test_the_next_training_lists_its_own_dropped_rows(place, exp):
    assert "refused" in str(train(*options(place, exp=exp, data="bad")))
    assert (exp / "refused.jsonl").exists() and (exp / "dropped.jsonl").read_bytes() == b""
    done = CliRunner().invoke(
        app, ["train", *map(str, options(place, exp=exp, data="bad")), "--fresh", "--max-bad", "50"]
    )
    assert done.exception is None and not (exp / "refused.jsonl").exists()
    assert (exp / "dropped.jsonl").read_bytes().count(b"no-text") == 12
    assert f"train: the dropped utterances are listed in {exp}/dropped.jsonl" in done.stderr


def test_a_first_training_that_is_refused_lists_what_it_dropped(place, tmp_path):
    assert "refused" in str(train(*options(place, exp=tmp_path / "new", data="bad")))
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"dropped.jsonl"}


def test_a_complete_training_says_so_and_changes_nothing(place, exp):
    before = contents(exp)
    done = CliRunner().invoke(app, ["train", *map(str, options(place, exp=exp)), "--readers", "2"])
    assert done.exception is None and contents(exp) == before
    assert f"train: {exp}/last.pt: complete after 1 of 1 epochs (" in done.stderr
    assert "resuming" not in done.stderr


def test_a_training_without_its_checkpoint_starts_over_with_a_warning(place, exp):
    Path(exp, "last.pt").unlink()
    done = CliRunner().invoke(app, ["train", *map(str, options(place, exp=exp))])
    assert done.exception is None and "resuming" not in done.stderr
    assert f"{exp} has no last.pt to resume from: starting over, which replaces best.safetensors" in done.stderr
    assert (exp / "last.pt").exists()
