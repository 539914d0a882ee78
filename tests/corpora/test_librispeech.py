import shutil

import pytest

from ds2cli.corpora.librispeech import Options, prepare
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import prepare as stage


def test_the_published_layout(shared_data):
    ledger = Ledger()
    config = Options(part="dev-clean,test-clean")
    rows = list(stage.run("librispeech", str(shared_data / "LibriSpeech"), config, ledger))
    assert len(rows) == 11
    assert not ledger.rows
    assert rows[0]["id"] == "1089-134686-0000"
    assert rows[0]["speaker"] == "1089"
    assert rows[0]["text"].startswith("he hoped there would be stew for dinner turnips and carrots")
    assert sum(r["duration"] for r in rows) == pytest.approx(84.2, abs=0.1)


def test_a_single_subset_folder(shared_data):
    assert len(list(prepare(str(shared_data / "LibriSpeech/dev-clean"), Options(), Ledger()))) == 7


def test_unmatched_texts_and_recordings_are_dropped(shared_data, tmp_path):
    chapter = next((shared_data / "LibriSpeech/dev-clean").rglob("*.trans.txt")).parent
    copy = tmp_path / "dev-clean" / chapter.parent.name / chapter.name
    shutil.copytree(chapter, copy)
    names = sorted(p.stem for p in copy.glob("*.flac"))
    (copy / f"{names[0]}.flac").unlink()
    shutil.copy(copy / f"{names[1]}.flac", copy / "9-9-0009.flac")
    ledger = Ledger()
    rows = list(prepare(str(tmp_path), Options(), ledger))
    assert [r["id"] for r in rows] == names[1:]
    assert {r["id"]: r["reason"] for r in ledger.rows} == {names[0]: "missing-audio", "9-9-0009": "no-text"}
    assert f".trans.txt:1: no {names[0]}.flac in the same folder" in ledger.rows[0]["detail"]


def chapter_of(folder, *names, listed=True):
    """Empty recordings in a chapter's folder, and their list."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.flac").touch()
    if listed:
        (folder / "7-8.trans.txt").write_text("".join(f"{name} TEXT\n" for name in names))


def test_linked_subsets_speakers_and_chapters_are_found(tmp_path):
    chapter_of(tmp_path / "a/dev-x/7/8", "7-8-0001")
    chapter_of(tmp_path / "b/9/10", "9-10-0001")
    chapter_of(tmp_path / "c", "3-4-0001")
    source = tmp_path / "LibriSpeech"
    (source / "test-clean/3").mkdir(parents=True)
    (source / "dev-clean").symlink_to("../a/dev-x")
    (source / "test-clean/9").symlink_to("../../b/9")
    (source / "test-clean/3/4").symlink_to("../../../c")
    rows = list(prepare(str(source), Options(), Ledger()))
    assert {row["id"]: row["split"] for row in rows} == {
        "7-8-0001": "dev-clean",
        "9-10-0001": "test-clean",
        "3-4-0001": "test-clean",
    }
    assert len(list(prepare(str(source), Options(part="dev-clean"), Ledger()))) == 1


def test_the_subset_is_found_above_the_source(tmp_path, monkeypatch):
    chapter_of(tmp_path / "dev-clean/7/8", "7-8-0001")
    (tmp_path / "link").symlink_to("dev-clean/7")
    for folder, source in ((".", "dev-clean/7"), ("dev-clean/7/8", "."), (".", "link")):
        monkeypatch.chdir(tmp_path / folder)
        assert [row["split"] for row in prepare(source, Options(), Ledger())] == ["dev-clean"]


def test_chapters_without_a_list_and_what_cannot_be_read_are_counted(tmp_path):
    chapter_of(tmp_path / "dev-clean/7/8", "7-8-0001")
    chapter_of(tmp_path / "dev-clean/7/9", "7-9-0001", "7-9-0002", listed=False)
    (tmp_path / "test-clean").symlink_to("/missing/test-clean")
    ledger = Ledger()
    assert len(list(prepare(str(tmp_path), Options(), ledger))) == 1
    assert [(r["id"], r["reason"]) for r in ledger.rows] == [
        (str(tmp_path / "test-clean"), "broken-link"),
        ("7-9-0001", "no-text"),
        ("7-9-0002", "no-text"),
    ]
    with pytest.raises(DataError, match="no such folder"):
        list(prepare(str(tmp_path / "none"), Options(), Ledger()))


def test_wrong_folders_and_parts(shared_data, tmp_path):
    with pytest.raises(DataError, match=r"trans.txt"):
        list(prepare(str(tmp_path), Options(), Ledger()))
    with pytest.raises(UsageError, match=r"--part dev-dirty: not in .*, which has dev-clean"):
        list(prepare(str(shared_data / "LibriSpeech"), Options(part="dev-dirty"), Ledger()))


def test_subsets_may_be_separated_by_spaces(shared_data):
    source = str(shared_data / "LibriSpeech")
    together, only = (
        list(prepare(source, Options(part=part), Ledger())) for part in ("test-clean, dev-clean", "dev-clean")
    )
    assert len(together) == 11 and len(only) == 7 and {row["split"] for row in only} == {"dev-clean"}


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_an_id(tmp_path, codec):
    chapter = tmp_path / "dev-clean/7/8"
    chapter.mkdir(parents=True)
    (chapter / "7-8-0001.flac").touch()
    (chapter / "7-8.trans.txt").write_bytes("7-8-0001 A WORD\r\n\r\n".encode(codec))
    ledger = Ledger()
    assert [(row["id"], row["text"]) for row in prepare(str(tmp_path), Options(), ledger)] == [("7-8-0001", "A WORD")]
    assert not ledger.rows
