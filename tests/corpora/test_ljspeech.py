import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli.corpora.ljspeech import Options, prepare
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.stages import prepare as stage


@pytest.fixture
def tree(tmp_path, shared_data):
    """A copy of the published layout."""
    shutil.copytree(shared_data / "LJSpeech-1.1", tmp_path / "LJSpeech-1.1")
    return tmp_path / "LJSpeech-1.1"


def run(source, **settings):
    ledger = Ledger()
    return list(stage.run("ljspeech", str(source), Options(**settings), ledger)), ledger


def test_the_published_layout(tree):
    rows, ledger = run(tree)
    assert [row["id"] for row in rows] == [f"LJ001-{n:04d}" for n in range(1, 13)] and not ledger.rows
    first = rows[1]
    assert first["text"] == "in being comparatively modern"
    assert first["audio_filepath"] == str(tree / "wavs/LJ001-0002.wav")
    assert (first["speaker"], first["lang"], first["sample_rate"]) == ("LJ", "en", 22050)


def test_the_normalized_text_is_taken_and_quotation_marks_are_characters(tree):
    lines = ['LJ001-0001|"In 1455, he said|"In fourteen fifty-five, he said', 'LJ001-0002|said "no"|said "no"']
    (tree / "metadata.csv").write_text("\r\n".join([*lines, ""]), newline="")
    for path in (tree / "wavs").iterdir():
        if path.stem not in ("LJ001-0001", "LJ001-0002"):
            path.unlink()
    rows, ledger = run(tree)
    assert [row["text"] for row in rows] == ["in fourteen fifty five he said", "said no"] and not ledger.rows


def test_whatever_is_wrong_costs_its_utterance(tree):
    table = tree / "metadata.csv"
    lines = table.read_text("utf-8").splitlines()
    (tree / "wavs/LJ001-0001.wav").unlink()
    (tree / "wavs/LJ001-0002.wav").write_bytes(b"")
    lines[2] = "LJ001-0003|only the text"
    lines[3] = "LJ001-0004|in 1999|in 1999"
    lines[4] = "LJ001-0005||"
    lines[5] = "|no id|no id"
    lines[6] = "LJ001-0007|caf\udce9|caf\udce9"
    lines += ["", "LJ001-0008|again|again"]
    table.write_text("\n".join(lines), "utf-8", errors="surrogateescape")
    rows, ledger = run(tree)
    assert [row["id"] for row in rows] == [f"LJ001-{n:04d}" for n in range(8, 13)]
    assert sorted((row["id"].rpartition("/")[2], row["reason"]) for row in ledger.rows) == [
        ("LJ001-0001", "missing-audio"),
        ("LJ001-0002", "empty-file"),
        ("LJ001-0003", "no-text"),
        ("LJ001-0004", "digits"),
        ("LJ001-0005", "no-text"),
        ("LJ001-0006", "no-text"),
        ("LJ001-0007", "not-utf8"),
        ("LJ001-0008", "duplicate-id"),
        ("metadata.csv:3", "wrong-columns"),
        ("metadata.csv:6", "wrong-columns"),
    ]
    assert f"{table}:1: no LJ001-0001.wav in wavs" in {row["detail"] for row in ledger.rows}


def test_empty_and_missing_files(tree):
    (tree / "metadata.csv").write_text("\n")
    with pytest.raises(DataError, match=r"metadata.csv: no lines ID\|text\|normalized text"):
        run(tree)
    (tree / "metadata.csv").unlink()
    with pytest.raises(
        DataError, match=r"no metadata.csv in this folder, expected the folder LJSpeech-1.1 with wavs and"
    ):
        run(tree)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("..", r"\.\.: expected the folder LJSpeech-1\.1 with wavs and metadata\.csv \(pass \.\./LJSpeech-1\.1\)"),
        ("wavs", r"wavs: .* \(pass \.\)"),
        ("metadata.csv", r"this is a file, .* \(pass the folder that it is in\)"),
        ("LJSpeech-1.1.tar.bz2", r"this is a file, .* \(unpack it, and pass the folder\)"),
        ("none", "none: no such folder, expected the folder"),
        ("empty", "this one is empty"),
    ],
)
def test_a_wrong_source_names_the_right_one(tree, monkeypatch, source, message):
    monkeypatch.chdir(tree)
    (tree / "empty").mkdir()
    (tree / "LJSpeech-1.1.tar.bz2").touch()
    if source == "empty":
        shutil.move(tree / "empty", tree.parents[1] / f"{tree.parent.name}-empty")
        source = str(tree.parents[1] / f"{tree.parent.name}-empty")
    with pytest.raises(DataError, match=message) as e:
        list(prepare(source, Options(), Ledger()))
    assert "\n" not in str(e.value)


def test_folders_that_cannot_be_read_are_named(tree):
    (tree / "wavs/more").symlink_to("/missing/more")
    _, ledger = run(tree)
    assert [(row["id"], row["reason"]) for row in ledger.rows] == [(str(tree / "wavs/more"), "broken-link")]
    shutil.rmtree(tree / "wavs")
    (tree / "wavs").write_text("")
    with pytest.raises(DataError, match=re.escape(f"{tree}/wavs: this is a file, expected a folder")):
        run(tree)


def test_a_folder_without_permission_is_an_error_of_one_line(tree):
    (tree / "wavs").chmod(0)
    rights = "-dac_override,-dac_read_search"
    as_user = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    if as_user and not shutil.which(as_user[0]):
        pytest.skip("root may enter every folder, and setpriv is not installed")
    command = [*as_user, sys.executable, "-m", "ds2cli", "prepare", "ljspeech", str(tree), "-"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    (tree / "wavs").chmod(0o755)
    assert (done.returncode, done.stderr) == (3, f"ds2: {tree}/wavs: permission denied\n")


@pytest.mark.peer
def test_the_utterances_are_those_of_lhotse(tree):
    recipes = pytest.importorskip("lhotse.recipes")
    expected = recipes.prepare_ljspeech(tree)["supervisions"]
    rows = sorted(prepare(str(tree), Options(), Ledger()), key=lambda row: row["id"])
    assert [(row["id"], row["text"]) for row in rows] == [(s.id, s.custom["normalized_text"]) for s in expected]
    assert [row["duration"] for row in run(tree)[0]] == [pytest.approx(s.duration, abs=1e-4) for s in expected]
