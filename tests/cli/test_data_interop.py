"""`ds2 data import` and `ds2 data export` as commands."""

import json

import numpy as np
import pytest
import soundfile

from tests.interop.conftest import FORMATS


@pytest.fixture
def rows(tmp_path, jsonl):
    """Two rows in rows.jsonl, of one recording."""
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(1).normal(size=32000), 16000)
    row = {"audio_filepath": "a.wav", "duration": 2.0, "text": "hello", "speaker": "s", "note": {"x": 1}}
    found = [{"id": "u1", **row}, {"id": "u2", **row, "offset": 0.5, "duration": 1.0}]
    jsonl(tmp_path / "rows.jsonl", found)
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_export_and_import(ds2, jsonl, rows, tmp_path, name):
    done = ds2("data", "export", name, "rows.jsonl", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"export {name}: 2 in = 2 kept + 0 dropped" in done.stderr
    fresh = ds2("data", "export", name, "rows.jsonl", "out", "--if-stale", cwd=tmp_path)
    assert "is fresh: nothing to do" in fresh.stderr
    done = ds2("data", "import", name, "out", "back.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [{**row, "audio_filepath": "a.wav"} for row in jsonl(tmp_path / "back.jsonl")]
    assert found == rows
    assert (tmp_path / "back.jsonl.config.toml").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_rows_from_a_pipe_and_to_a_pipe(ds2, rows, tmp_path, name):
    done = ds2("data", "export", name, "-", "out", cwd=tmp_path, stdin=(tmp_path / "rows.jsonl").read_text())
    assert done.returncode == 0, done.stderr
    done = ds2("data", "import", name, "out", cwd=tmp_path)
    assert [json.loads(line)["note"] for line in done.stdout.splitlines()] == [{"x": 1}] * 2


@pytest.mark.parametrize("name", FORMATS)
def test_no_rows(ds2, tmp_path, name):
    (tmp_path / "none.jsonl").touch()
    done = ds2("data", "export", name, "none.jsonl", "out", cwd=tmp_path)
    assert done.returncode == 3
    assert "no utterances" in done.stderr and "Traceback" not in done.stderr
    assert not any(p.is_file() for p in (tmp_path / "out").rglob("*"))


def test_data_of_others_is_not_replaced(ds2, rows, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/wav.scp").write_text("theirs\n")
    done = ds2("data", "export", "kaldi", "rows.jsonl", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "its wav.scp is not an export of ds2" in done.stderr
    assert (tmp_path / "out/wav.scp").read_text() == "theirs\n"


def test_dropped_utterances_are_listed_and_too_many_are_refused(ds2, jsonl, rows, tmp_path):
    (tmp_path / "k").mkdir()
    (tmp_path / "k/wav.scp").write_text("a a.wav\nb cat a.wav |\n")
    done = ds2("data", "import", "kaldi", "k", "k.jsonl", cwd=tmp_path)
    assert done.returncode == 1
    assert "refused: 1 of 2 utterances are bad" in done.stderr
    done = ds2("data", "import", "kaldi", "k", "k.jsonl", "--max-bad", 100, cwd=tmp_path)
    assert done.returncode == 0
    assert [row["reason"] for row in jsonl(tmp_path / "k.jsonl.dropped.jsonl")] == ["command"]


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["import", "kaldy", "x"], 2, "unknown format 'kaldy', expected one of hf-audiofolder, kaldi"),
        (["import", "kaldi", "nowhere"], 3, "no such folder"),
        (["import", "nemo", "nowhere.json"], 3, "no such file"),
        (["import", "lhotse", "nowhere"], 3, "no such file or folder"),
        (["import", "hf-audiofolder", "nowhere"], 3, "no such folder"),
        (["import", "kaldi", ".", "--allow-commands"], 3, "no wav.scp"),
        (["export", "nemo", "nowhere.jsonl", "out"], 3, "no such file"),
        (["export", "kaldi", "nowhere.jsonl", "out", "--paths", "absolut"], 2, "absolute, relative"),
    ],
)
def test_mistakes_are_usage_or_data_errors(ds2, tmp_path, words, code, message):
    done = ds2("data", *words, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_an_export_without_one_of_its_files_is_partial(ds2, jsonl, rows, tmp_path):
    command = ["data", "export", "kaldi", "rows.jsonl", "out"]
    assert ds2(*command, cwd=tmp_path).returncode == 0
    (tmp_path / "out/text").unlink()
    assert ds2("status", "out", cwd=tmp_path).stdout.startswith("partial  out/ds2.jsonl")
    assert "making out/ds2.jsonl: out/text is missing" in ds2(*command, "--if-stale", cwd=tmp_path).stderr
    assert (tmp_path / "out/text").exists() and (tmp_path / "out/segments").exists()
    # files of the earlier run that are not written again do not count
    jsonl(tmp_path / "rows.jsonl", rows[:1])
    assert "has changed" in ds2(*command, "--if-stale", cwd=tmp_path).stderr
    assert ds2("status", "out", cwd=tmp_path).stdout.startswith("fresh    out/ds2.jsonl")
