"""NeMo's manifests: ids, null offsets, other names of fields, and what is refused."""

import json

import pytest

from ds2cli.errors import DataError
from tests.interop.conftest import export_rows, import_rows


@pytest.fixture
def manifest(tmp_path, recordings):
    """A function that writes lines beside the recordings: rows or texts → the path."""

    def write(*lines, name="train.json"):
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / name).write_text("".join(f"{text}\n" for text in texts), "utf-8")
        return tmp_path / name

    return write


def test_rows_get_ids_and_null_offsets_are_none(manifest, tmp_path):
    path = manifest(
        {"audio_filepath": "mono.wav", "duration": 1.5, "text": "Hi, there", "offset": None, "lang": "en"},
        {"audio_filepath": "mono.wav", "duration": 1.5, "offset": 2.0, "text": "", "speaker": "s", "label": 3},
        {"audio_filename": str(tmp_path / "my stereo.wav"), "text": "x"},
    )
    rows, ledger = import_rows("nemo", path)
    found = {row["text"]: row for row in rows}
    assert "offset" not in found["Hi, there"]
    assert (found[""]["offset"], found[""]["label"]) == (2.0, 3)
    assert found[""]["id"] == f"{found['Hi, there']['id']}-00002000"
    assert (found["x"]["duration"], found["x"]["sample_rate"]) == (3.0, 8000)
    assert any("3 rows had no id" in note for note in ledger.notes)


def test_bad_lines_cost_one_row_each(manifest):
    good = {"id": "good", "audio_filepath": "mono.wav", "duration": 1.0, "text": "x"}
    path = manifest(good, good, "{oops", {"id": "no-audio", "audio_filepath": "gone.wav", "duration": 1.0},
                    {"id": "type", "audio_filepath": "mono.wav", "duration": "1"}, {"text": "no path"})  # fmt: skip
    rows, ledger = import_rows("nemo", path)
    assert [row["id"] for row in rows] == ["good"]
    assert sorted((row["reason"]) for row in ledger.rows) == [
        "duplicate-id", "missing-audio", "no-audio-filepath", "not-json", "wrong-type",
    ]  # fmt: skip
    assert ledger.summary().startswith("6 in = 1 kept + 5 dropped")


def test_texts_in_files(manifest, tmp_path):
    (tmp_path / "t.txt").write_text("from a file\n")
    row = {"audio_filepath": "mono.wav", "duration": 1.0}
    rows, ledger = import_rows("nemo", manifest({**row, "text_filepath": "t.txt"}, {**row, "text_filepath": "no.txt"}))
    assert [row["text"] for row in rows] == ["from a file"]
    assert [row["reason"] for row in ledger.rows] == ["no-text"]


@pytest.mark.parametrize("name", ["sharded_OP_0..3_CL_.json", "train.json"])
def test_manifests_of_tar_files_are_refused(manifest, name):
    path = manifest({"audio_filepath": "a.wav", "duration": 1.0, "text": "x", "shard_id": 0}, name=name)
    with pytest.raises(DataError, match="a manifest of tar files"):
        import_rows("nemo", path)


def test_an_unsorted_manifest_is_sorted(manifest):
    rows = [{"id": name, "audio_filepath": "mono.wav", "duration": 1.0, "text": name} for name in ("c", "é", "a")]
    assert [row["id"] for row in import_rows("nemo", manifest(*rows))[0]] == ["a", "c", "é"]


def test_nemo_own_manifest_of_an4(shared_data):
    rows, ledger = import_rows("nemo", shared_data / "an4_nemo/an4_train.json")
    assert (len(rows), ledger.rows) == (30, [])


def test_rows_that_nemo_cannot_have_are_dropped(tmp_path, recordings):
    rows = [{"id": "a", "audio_filepath": recordings[0]}, {"id": "b", "duration": 1.0}]
    ledger = export_rows("nemo", rows, tmp_path / "n")
    assert [row["reason"] for row in ledger.rows] == ["no-duration", "no-audio-filepath"]
