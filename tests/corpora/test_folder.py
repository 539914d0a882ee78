from pathlib import Path

import pytest

from ds2cli.corpora.folder import Options, id_from_path, prepare
from ds2cli.drops import Ledger
from ds2cli.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for name in ("2024/call 7.wav", "2024/b.flac", "a.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "2024/call 7.txt").write_bytes("\ufeffHello,\r\nworld\r\n".encode())
    (tmp_path / "a.txt").write_bytes("Müller".encode("latin-1"))
    return tmp_path


def test_texts_are_read_from_files_of_the_same_name(folder):
    ledger = Ledger()
    rows = list(prepare(str(folder), Options(lang="de"), ledger))
    assert rows == [
        {
            "id": "2024-call_7",
            "audio_filepath": str(folder / "2024/call 7.wav"),
            "lang": "de",
            "text": "Hello,\nworld\n",
        }
    ]
    assert {r["id"]: r["reason"] for r in ledger.rows} == {"2024-b": "no-text", "a": "not-utf8"}


def test_recordings_without_texts(folder):
    rows = list(prepare(str(folder), Options(text=False), Ledger()))
    assert [r["id"] for r in rows] == ["2024-b", "2024-call_7", "a"]
    assert all("text" not in r for r in rows)


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(DataError, match="no audio files in this folder"):
        list(prepare(str(tmp_path), Options(), Ledger()))
    with pytest.raises(DataError, match="no such folder"):
        list(prepare(str(tmp_path / "x"), Options(), Ledger()))


def test_a_folder_whose_recordings_all_lack_texts_is_not_empty(tmp_path):
    (tmp_path / "a.wav").touch()
    ledger = Ledger()
    assert list(prepare(str(tmp_path), Options(), ledger)) == []
    assert [(r["id"], r["reason"]) for r in ledger.rows] == [("a", "no-text")]


def test_id_from_path():
    assert id_from_path(Path("a b/c.d.wav")) == "a_b-c.d"
    assert id_from_path(Path("/x/../y.wav")) == "x-y"
