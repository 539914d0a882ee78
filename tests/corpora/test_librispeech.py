import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ds2cli.corpora import librispeech
from ds2cli.corpora.librispeech import Options, fetch, prepare
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


@pytest.fixture
def openslr(site, packed, shared_data):
    """A mirror that has two subsets of LibriSpeech, with the checksums of these."""
    checksums = {}
    for subset in ("dev-clean", "test-clean"):
        files = {p: p.read_bytes() for p in sorted((shared_data / "LibriSpeech" / subset).rglob("*.*"))}
        names = {f"LibriSpeech/{p.relative_to(shared_data / 'LibriSpeech')}": data for p, data in files.items()}
        names = {"LibriSpeech/README.TXT": b"readme", **names}
        checksums[subset] = site.put(f"12/{subset}.tar.gz", packed["tar"](names))
    return checksums


def test_subsets_are_downloaded_once(tmp_path, site, openslr, monkeypatch, shared_data):
    monkeypatch.setattr(librispeech, "CHECKSUMS", openslr)
    config = Options(download=True, mirror=site.address, part="dev-clean")
    for source, part, requests in (
        ("new", "dev-clean", 1),
        ("new", "dev-clean, test-clean", 2),
        (".", "test-clean", 2),
    ):
        (tmp_path / "new").mkdir(exist_ok=True)
        fetch(str(tmp_path / "new" if source == "new" else tmp_path / "new/test-clean"), replace(config, part=part))
        assert len(site.requests) == requests
    rows = list(stage.run("librispeech", str(tmp_path / "new"), Options(), Ledger()))
    published = list(stage.run("librispeech", str(shared_data / "LibriSpeech"), replace(config, part="all"), Ledger()))
    kept = {row["id"]: row["text"] for row in published if row["split"] in ("dev-clean", "test-clean")}
    assert {row["id"]: row["text"] for row in rows} == kept and len(rows) == 11
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["README.TXT", "dev-clean", "test-clean"]
    with pytest.raises(
        DataError, match=rf"this is one subset, expected the folder LibriSpeech .* \(pass {tmp_path}/new\)"
    ):
        fetch(str(tmp_path / "new/dev-clean"), replace(config, part="dev-clean,test-clean"))
    # a folder of that name that is not there yet is where the subset goes
    fetch(str(tmp_path / "dev-clean"), config)
    assert (tmp_path / "dev-clean/dev-clean").is_dir()


def test_the_folder_above_may_be_the_source(tmp_path, site, openslr, monkeypatch):
    monkeypatch.setattr(librispeech, "CHECKSUMS", openslr)
    (tmp_path / "LibriSpeech").mkdir()
    fetch(str(tmp_path), Options(download=True, mirror=site.address, part="dev-clean"))
    assert (tmp_path / "LibriSpeech/dev-clean").is_dir()


@pytest.mark.parametrize(
    ("part", "message"),
    [("all", "--download: all subsets have 60 GB: name some"), ("dev-dirty", "--part dev-dirty: expected subsets to")],
)
def test_subsets_to_download_are_named(tmp_path, site, part, message):
    with pytest.raises(UsageError, match=message):
        fetch(str(tmp_path), Options(download=True, mirror=site.address, part=part))
    fetch(str(tmp_path), Options(part=part))
    assert not site.requests


def test_the_command_downloads_before_it_reads(ds2, jsonl, tmp_path, site, openslr):
    """The published checksum is not that of the miniature, so the archive is refused; what is there is read."""
    arguments = ("prepare", "librispeech", "LibriSpeech", "out.jsonl", "--part", "dev-clean")
    done = ds2(*arguments, "--download", "--mirror", site.address, cwd=tmp_path)
    assert done.returncode == 1 and "its MD5 checksum is" in done.stderr.splitlines()[-1]
    assert site.requests == [("/12/dev-clean.tar.gz", None)] and not (tmp_path / "out.jsonl").exists()
    chapter_of(tmp_path / "LibriSpeech/dev-clean/7/8", "7-8-0001")
    done = ds2(*arguments, "--download", "--mirror", site.address, "--max-bad", 100, cwd=tmp_path)
    assert len(site.requests) == 1 and "1 in = 0 kept + 1 dropped (1 empty-file)" in done.stderr
    done = ds2(*arguments, "--mirror", site.address, cwd=tmp_path)
    assert done.returncode == 2 and "--mirror" in done.stderr


@pytest.mark.peer
@pytest.mark.parametrize("part", ["dev-clean", "test-clean", "test-other"])
def test_the_utterances_are_those_of_lhotse(shared_data, part):
    recipes = pytest.importorskip("lhotse.recipes")
    source = str(shared_data / "LibriSpeech")
    expected = recipes.prepare_librispeech(source, dataset_parts=[part])[part]["supervisions"]
    rows = list(prepare(source, Options(part=part), Ledger()))
    assert [(row["id"], row["text"], row["speaker"]) for row in rows] == sorted(
        (s.id, s.text, s.speaker) for s in expected
    )
    durations = {row["id"]: row["duration"] for row in stage.run("librispeech", source, Options(part=part), Ledger())}
    assert durations == {s.id: pytest.approx(s.duration, abs=1e-4) for s in expected}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_download_that_the_user_ends_is_continued_by_the_same_command(tmp_path, site, number, status):
    site.put("12/dev-clean.tar.gz", bytes(200_000))
    site.delay_s, begun = 0.02, threading.Event()
    site.on_block = lambda sent: begun.set() if sent > 100_000 else None
    options = ["--part", "dev-clean", "--download", "--mirror", site.address]
    command = [sys.executable, "-m", "ds2cli", "prepare", "librispeech", str(tmp_path / "x"), "-", *options]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
    assert begun.wait(30)
    process.send_signal(number)
    lines = process.communicate()[1].splitlines()
    assert process.returncode == status, lines
    name = "prepare librispeech: dev-clean.tar.gz"
    assert lines[0].startswith(f"{name}: stopped at ") and lines[0].endswith("kB: the same command continues")
    there = (tmp_path / "x/dev-clean.tar.gz.part").stat().st_size
    site.delay_s = 0
    again = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert again.returncode == 1 and again.stdout == ""
    # as the checksum is not the published one, it is then fetched once more from the start
    assert there > 0 and [wants for _, wants in site.requests] == [None, f"bytes={there}-", None]
    assert re.search(
        r"the download failed: .* its MD5 checksum is \w+ \(200 kB\), expected \w+ \(try again", again.stderr
    )
