import hashlib
from pathlib import Path

import pytest

from ds2cli.corpora.folder import Options, prepare
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path):
    for name in ("2024/call 7.wav", "2024/b.flac", "a.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "2024/call 7.txt").write_bytes("\ufeffHello,\r\nworld\r\n".encode())
    (tmp_path / "a.txt").write_bytes("Müller".encode("latin-1"))
    return tmp_path


def prepared(folder, **settings):
    """The rows, the reason of each drop, and the ledger."""
    ledger = Ledger()
    rows = list(prepare(str(folder), Options(**settings), ledger))
    return rows, {r["id"]: r["reason"] for r in ledger.rows}, ledger


def write(folder, **texts):
    """Recordings with their texts; `anna__1` is anna/1."""
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.with_suffix(".txt").write_text(text)


def test_texts_are_read_from_files_of_the_same_name(folder):
    rows, drops, _ = prepared(folder, lang="de")
    assert rows == [
        {
            "id": "2024-call_7",
            "audio_filepath": str(folder / "2024/call 7.wav"),
            "lang": "de",
            "text": "Hello,\nworld\n",
        }
    ]
    assert drops == {"2024-b": "no-text", "a": "not-utf8"}


def test_recordings_without_texts(folder):
    rows, _, _ = prepared(folder, text=False)
    assert [r["id"] for r in rows] == ["2024-b", "2024-call_7", "a"]
    assert all("text" not in r for r in rows)


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(DataError, match="no audio files in this folder"):
        prepared(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        prepared(tmp_path / "x")


def test_a_folder_whose_recordings_all_lack_texts_is_not_empty(tmp_path):
    (tmp_path / "a.wav").touch()
    rows, drops, _ = prepared(tmp_path)
    assert (rows, drops) == ([], {"a": "no-text"})


def test_texts_in_capitals_and_in_linked_folders(tmp_path):
    write(tmp_path / "out", b="beta")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/A.WAV").touch()
    (tmp_path / "in/A.TXT").write_text("alpha")
    (tmp_path / "in/link").symlink_to("../out")
    rows, drops, _ = prepared(tmp_path / "in")
    assert [(r["id"], r["text"]) for r in rows] == [("A", "alpha"), ("link-b", "beta")]
    assert not drops


def test_everything_in_a_folder_is_counted(folder):
    """in = kept + dropped: a recording without a text is bad, a file that is no recording is not."""
    (folder / "notes.pdf").write_text("about the recordings")
    (folder / "c.txt").write_text("its recording was lost")
    (folder / "anna").symlink_to("/missing/anna")
    (folder / "._a.mp3").touch()
    rows, drops, ledger = prepared(folder)
    assert len(rows) == 1
    assert drops == {
        "2024-b": "no-text",
        "a": "not-utf8",
        str(folder / "anna"): "broken-link",
        str(folder / "c.txt"): "no-recording",
        str(folder / "notes.pdf"): "other-file",
    }
    assert ledger.bad == 3


def test_a_text_that_cannot_be_read(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").symlink_to("a.txt")
    (tmp_path / "b.wav").touch()
    (tmp_path / "b.txt").symlink_to("missing")
    _, _, ledger = prepared(tmp_path)
    details = {r["id"]: (r["reason"], r["detail"]) for r in ledger.rows}
    assert details == {
        "a": ("no-text", f"{tmp_path}/a.txt: too many levels of symbolic links"),
        "b": ("no-text", f"{tmp_path}/b.txt: no such file or directory"),
    }


def test_ids_are_unique_and_it_is_said_how(tmp_path):
    write(tmp_path, a__b="x", c="y")
    for name in ("a-b.wav", "c.mp3"):
        (tmp_path / name).touch()
        (tmp_path / name).with_suffix(".txt").write_text("z")
    rows, drops, ledger = prepared(tmp_path)
    hashes = {name: hashlib.sha256(name.encode()).hexdigest()[:12] for name in ("a-b.wav", "a/b.wav", "c.mp3", "c.wav")}
    assert {r["id"]: Path(r["audio_filepath"]).relative_to(tmp_path).as_posix() for r in rows} == {
        f"{'c' if name[0] == 'c' else 'a-b'}-{digits}": name for name, digits in hashes.items()
    }
    assert not drops
    assert ledger.notes == ["4 ids end in a hash of the path of their recording, as they would not be unique"]


def test_speakers_from_subfolders(tmp_path):
    write(tmp_path, anna__1="x", anna__day2__1="y", ben__1="z")
    rows, _, _ = prepared(tmp_path, speaker="folder")
    assert [(r["id"], r["speaker"]) for r in rows] == [("anna-1", "anna"), ("anna-day2-1", "anna"), ("ben-1", "ben")]
    assert all("speaker" not in row for row in prepared(tmp_path)[0])


@pytest.mark.parametrize(
    "rule, speakers",
    [
        ("^([^_]+)_", ["anna", "ben"]),
        (r"_([a-z]\d)\.", ["s1", "s2"]),
        ("(?:calls|more)/(.).*wav$", [None, "b"]),
        ("^(anna|ben)", ["anna", "ben"]),
    ],
)
def test_speakers_from_names(tmp_path, rule, speakers):
    write(tmp_path, anna_s1="x")
    write(tmp_path, **{"calls__ben_s2" if "calls" in rule else "ben_s2": "y"})
    rows, drops, ledger = prepared(tmp_path, speaker=rule)
    assert [row["speaker"] for row in rows] == [speaker for speaker in speakers if speaker]
    assert drops == ({} if all(speakers) else {"anna_s1": "no-speaker"})
    assert ledger.bad == speakers.count(None)


def test_a_recording_outside_of_the_speakers_folders_is_dropped(tmp_path):
    write(tmp_path, anna__1="x", b="y")
    rows, drops, _ = prepared(tmp_path, speaker="folder", text=False)
    assert [row["id"] for row in rows] == ["anna-1"]
    assert drops == {"b": "no-speaker"}


@pytest.mark.parametrize("rule", ["anna", "", "(", "[a-z]+/"])
def test_a_rule_without_a_group_is_a_usage_error(folder, rule):
    with pytest.raises(UsageError, match=r"^--speaker .*: (expected `folder`|not a valid regular expression)"):
        prepared(folder, speaker=rule)
