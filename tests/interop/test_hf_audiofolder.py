"""Hugging Face's audiofolder: tables, splits, links and segments."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli.errors import DataError
from tests.interop.conftest import export_rows, import_rows, real_paths


@pytest.fixture
def folder(tmp_path, recordings):
    (tmp_path / "mono.wav").rename(tmp_path / "a.wav")
    return tmp_path


def test_a_table_of_separated_values(folder):
    (folder / "metadata.csv").write_text(
        'file_name,transcription,speaker,duration\na.wav,"hello, there",7,4.0\nmy stereo.wav,x,,\n'
    )
    rows, _ = import_rows("hf-audiofolder", folder)
    assert [(r["text"], r.get("speaker"), r["duration"]) for r in rows] == [
        ("hello, there", "7", 4.0),
        ("x", None, 3.0),
    ]
    assert rows[0]["audio_filepath"] == str(folder / "a.wav")
    assert all(" " not in row["id"] for row in rows)


def test_folders_of_splits(folder):
    for split in ("test", "train"):
        (folder / split).mkdir()
        (folder / split / "a.wav").write_bytes((folder / "a.wav").read_bytes())
        line = {"file_name": "a.wav", "text": f"of {split}", "id": split, "score": [1]}
        (folder / split / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    rows, _ = import_rows("hf-audiofolder", folder)
    assert [(r["id"], r["split"], r["text"], r["score"]) for r in rows] == [
        ("test", "test", "of test", [1]), ("train", "train", "of train", [1]),
    ]  # fmt: skip


def test_bad_rows_cost_one_each(folder):
    lines = [{"file_name": "a.wav", "id": "a"}, {"file_name": "a.wav", "id": "a"}, {"file_name": "no.wav", "id": "b"},
             {"text": "x"}, {"file_name": "a.wav", "id": "c", "duration": "long"}]  # fmt: skip
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{oops\n")
    rows, ledger = import_rows("hf-audiofolder", folder)
    assert [row["id"] for row in rows] == ["a"]
    assert sorted(row["reason"] for row in ledger.rows) == [
        "duplicate-id", "missing-audio", "no-audio-filepath", "not-json", "wrong-type",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "files, message",
    [
        ({}, "no metadata.jsonl or metadata.csv"),
        ({"x.parquet": ""}, "Parquet"),
        ({"metadata.csv": "path,text\na.wav,x\n"}, "no column file_name"),
        ({"metadata.csv": "file_name\na.wav\n", "metadata.jsonl": "{}\n"}, "expected one of them"),
    ],
)
def test_what_is_no_audiofolder(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        import_rows("hf-audiofolder", tmp_path)


@pytest.mark.parametrize("form", ["flac", "wav"])
def test_segments_and_channels_are_files_with_their_samples(tmp_path, hard_rows, form):
    export_rows("hf-audiofolder", hard_rows, tmp_path / "out", format=form)
    lines = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text("utf-8").splitlines()]
    for row, line in zip(hard_rows, lines, strict=True):
        file = tmp_path / "out" / line["file_name"]
        source, rate = soundfile.read(row["audio_filepath"], always_2d=True)
        start = round(row.get("offset", 0) * rate)
        expected = source[start : start + round(row["duration"] * rate)]
        if "offset" in row or "channel" in row:
            assert not file.is_symlink() and file.suffix == f".{form}"
            expected = expected[:, row["channel"]] if "channel" in row else expected[:, 0]
        else:
            assert file.is_symlink()
        assert np.array_equal(soundfile.read(file)[0], np.squeeze(expected))


def test_a_moved_export_without_its_recordings_is_usable(tmp_path, recordings):
    rows = [{"id": "a", "audio_filepath": recordings[0], "offset": 1.0, "duration": 2.0, "text": "x", "note": "n"}]
    export_rows("hf-audiofolder", rows, tmp_path / "out", copy=True)
    assert real_paths(import_rows("hf-audiofolder", tmp_path / "out")[0]) == rows
    (tmp_path / "mono.wav").unlink()
    (tmp_path / "out").rename(tmp_path / "moved")
    file = str(tmp_path / "moved/audio/0000/a.flac")
    assert import_rows("hf-audiofolder", tmp_path / "moved")[0] == [
        {"id": "a", "audio_filepath": file, "duration": 2.0, "text": "x", "note": "n"}
    ]


def test_an_export_over_an_earlier_one_has_the_new_recordings(tmp_path, recordings):
    for path in recordings:
        rows = [{"id": "a", "audio_filepath": path, "duration": 3.0, "text": "x"}]
        export_rows("hf-audiofolder", rows, tmp_path / "out")
        assert (tmp_path / "out/audio/0000/a.wav").read_bytes() == Path(path).read_bytes()
