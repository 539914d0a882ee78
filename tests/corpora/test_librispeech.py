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
