import hashlib
import random
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from ds2cli.corpora import _download, _http
from ds2cli.corpora._download import Archive, fetch_archives
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.io import FolderLock


class Lines:
    """A `Report` that keeps what it is given."""

    def __init__(self):
        self.lines, self.updates = [], []

    def update(self, task, done, total):
        self.updates.append((task, done, total))

    def log(self, message):
        self.lines.append(message)


NOISE = random.Random(1).randbytes(100_000)
FILES = {"Corpus/README": b"read me", "Corpus/part/1/a.wav": NOISE, "Corpus/part/1/a.txt": b"a text\n"}


@pytest.fixture
def archive(site, packed):
    """An archive of 100 kB that the server has."""
    return Archive("7/part.tar.gz", site.put("7/part.tar.gz", packed["tar"](FILES)), "Corpus", "part")


def fetch(folder, archive, site, report=None):
    fetch_archives(str(folder), [archive], site.address, report or Lines())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def check(folder):
    """Whether the folder has the content of the archive, and nothing else."""
    assert names(folder) == ["README", "part"]
    assert (folder / "part/1/a.wav").read_bytes() == NOISE


def test_an_archive_is_fetched_verified_unpacked_and_removed(tmp_path, site, archive):
    report = Lines()
    fetch(tmp_path / "new/corpus", archive, site, report)
    check(tmp_path / "new/corpus")
    assert site.requests == [("/7/part.tar.gz", None)]
    assert not report.lines
    size = len(site.files["/7/part.tar.gz"])
    tasks = [task for task, done, total in report.updates if done == total == size]
    assert tasks[:2] == ["part.tar.gz", "verify part.tar.gz"]
    assert {task for task, *_ in report.updates} == {"part.tar.gz", "verify part.tar.gz", "unpack part.tar.gz"}


def test_what_is_unpacked_is_not_fetched_again(tmp_path, site, archive):
    fetch(tmp_path, archive, site)
    fetch(tmp_path, archive, site)
    fetch(tmp_path / "part", archive, site)
    assert len(site.requests) == 1 and names(tmp_path / "part") == ["1"]


def test_lost_connections_are_continued(tmp_path, site, archive):
    site.cut_at = 30_000
    report = Lines()
    fetch(tmp_path, archive, site, report)
    check(tmp_path)
    starts = [int(wants.strip("bytes=-")) if wants else 0 for _, wants in site.requests]
    assert starts[0] == 0 and len(starts) == 4 and sorted(set(starts)) == starts
    assert re.fullmatch(r"part.tar.gz: the connection was lost at 30 kB: connecting again in 0 s", report.lines[0])


def test_chunks_that_end_too_early_are_continued(tmp_path, site, archive):
    site.cut_at, site.chunked = 40_000, True
    fetch(tmp_path, archive, site)
    check(tmp_path)
    assert len(site.requests) > 2


def test_a_server_that_ignores_ranges_is_read_from_the_start(tmp_path, site, archive):
    site.cut_at, site.ignores_ranges = 60_000, True
    report = Lines()
    with pytest.raises(Ds2Error, match="the connection was lost, 4 times in a row"):
        fetch(tmp_path, archive, site, report)
    site.cut_at = None
    fetch(tmp_path, archive, site, report)
    check(tmp_path)
    assert "part.tar.gz: the server sends the whole file, so the 60 kB there are not used" in report.lines


@pytest.mark.parametrize("etag", [None, '"same"', 'W/"weak"'])
def test_a_file_that_changed_on_the_server_is_fetched_from_the_start(tmp_path, site, packed, etag):
    old = packed["tar"]({**FILES, "Corpus/part/old": NOISE})
    archive = Archive("7/part.tar.gz", site.put("7/part.tar.gz", old, etag), "Corpus", "part")
    site.cut_at = 50_000
    site.on_block = lambda sent: site.statuses.extend([404] if sent == 50_000 else [])
    with pytest.raises(Ds2Error, match="the server answered 404"):
        fetch(tmp_path, archive, site)
    assert names(tmp_path) == ["part.tar.gz.part", "part.tar.gz.part.json"]
    site.cut_at, site.on_block = None, lambda sent: None
    fetch(tmp_path, replace(archive, md5=site.put("7/part.tar.gz", packed["tar"](FILES), etag)), site)
    check(tmp_path)


def test_a_checksum_that_is_wrong_after_continuing_is_tried_once_more(tmp_path, site, archive):
    """As when the server has another file of the same size, and no ETag that would tell."""
    fresh = site.files["/7/part.tar.gz"]
    (tmp_path / "part.tar.gz.part").write_bytes(b"x" * 1000)
    known = f'{{"url": "{site.address}/7/part.tar.gz", "size": {len(fresh)}, "etag": null}}'
    (tmp_path / "part.tar.gz.part.json").write_text(known)
    report = Lines()
    fetch(tmp_path, archive, site, report)
    check(tmp_path)
    assert [wants for _, wants in site.requests] == ["bytes=1000-", None]
    assert "its MD5 checksum is" in report.lines[0]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"url": 1}'])
def test_a_part_of_unknown_origin_is_not_trusted(tmp_path, site, archive, content):
    (tmp_path / "part.tar.gz.part").write_bytes(b"x" * 1000)
    (tmp_path / "part.tar.gz.part.json").write_text(content)
    fetch(tmp_path, archive, site)
    check(tmp_path)


def test_a_complete_part_is_only_verified(tmp_path, site, archive):
    data = site.files["/7/part.tar.gz"]
    (tmp_path / "part.tar.gz.part").write_bytes(data)
    known = f'{{"url": "{site.address}/7/part.tar.gz", "size": {len(data)}, "etag": null}}'
    (tmp_path / "part.tar.gz.part.json").write_text(known)
    fetch(tmp_path, archive, site)
    check(tmp_path)
    assert [wants for _, wants in site.requests] == [f"bytes={len(data)}-"]


def test_wrong_bytes_are_refused(tmp_path, site, archive):
    site.put("7/part.tar.gz", NOISE)
    with pytest.raises(Ds2Error, match=rf"its MD5 checksum is {hashlib.md5(NOISE).hexdigest()} \(100 kB\), expected"):
        fetch(tmp_path, archive, site)
    site.put("7/part.tar.gz", b"<html>log in first</html>")
    with pytest.raises(Ds2Error, match=r"\(1 kB, a web page\)"):
        fetch(tmp_path, archive, site)
    assert not (tmp_path / "part").exists()


def test_a_missing_file_names_the_address(tmp_path, site, archive):
    del site.files["/7/part.tar.gz"]
    address = re.escape(f"{site.address}/7/part.tar.gz")
    with pytest.raises(Ds2Error, match=rf"{address}: the server answered 404 Not Found \(try again.*--mirror ADDRESS"):
        fetch(tmp_path, archive, site)
    assert len(site.requests) == 1


def test_a_busy_server_is_asked_again(tmp_path, site, archive):
    site.statuses = [503, 429, 500]
    report = Lines()
    fetch(tmp_path, archive, site, report)
    check(tmp_path)
    assert [line.split(" at ")[0] for line in report.lines] == [
        "part.tar.gz: the server answered 503 Service Unavailable",
        "part.tar.gz: the server answered 429 Too Many Requests",
        "part.tar.gz: the server answered 500 Internal Server Error",
    ]


def test_the_next_mirror_continues_where_the_first_one_stopped(tmp_path, site, archive, monkeypatch):
    site.cut_at = 30_000
    data = site.files["/7/part.tar.gz"]
    site.put("mirror/7/part.tar.gz", data, '"another"')
    site.on_block = lambda sent: site.statuses.extend([404] if sent == 30_000 and len(site.requests) == 1 else [])
    monkeypatch.setattr(_download, "MIRRORS", (f"{site.address}/none", site.address, f"{site.address}/mirror"))
    fetch_archives(str(tmp_path), [archive], None)
    check(tmp_path)
    assert site.requests[0] == ("/none/7/part.tar.gz", None)
    assert {path for path, wants in site.requests if wants} <= {"/7/part.tar.gz", "/mirror/7/part.tar.gz"}


def test_a_server_that_is_slow_is_waited_for_and_one_that_sends_nothing_is_not(tmp_path, site, archive, monkeypatch):
    monkeypatch.setattr(_http, "TIMEOUT_S", 0.2)
    site.delay_s = 0.01
    fetch(tmp_path / "slow", archive, site)
    check(tmp_path / "slow")
    site.stall = True
    with pytest.raises(Ds2Error, match=r"no answer for 0.2 s, 4 times in a row"):
        fetch(tmp_path / "stalled", archive, site)


@pytest.mark.parametrize("mirror", ["http://127.0.0.1:9", "http://127.0.0.1:x", "http://no-such-host.invalid"])
def test_a_server_that_does_not_answer(tmp_path, archive, mirror):
    with pytest.raises(Ds2Error, match=r"part.tar.gz: the download failed"):
        fetch_archives(str(tmp_path), [archive], mirror)


@pytest.mark.parametrize("mirror", ["", "openslr.org", "ftp://x", "file:///etc"])
def test_a_mirror_that_is_no_address(tmp_path, archive, mirror):
    with pytest.raises(UsageError, match=r"--mirror .*: expected an address"):
        fetch_archives(str(tmp_path), [archive], mirror)


def test_an_archive_in_the_folder_is_used_and_kept(tmp_path, site, archive):
    (tmp_path / "part.tar.gz").write_bytes(site.files["/7/part.tar.gz"])
    fetch(tmp_path, archive, site)
    assert not site.requests and names(tmp_path) == ["README", "part", "part.tar.gz"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "part.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"part.tar.gz: its MD5 checksum is .*, expected .* \(remove it"):
        fetch(other, archive, site)


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, site, archive):
    with pytest.raises(DataError, match=r"part.tar.gz needs 1e\+11 GB for itself and its files, .* are free"):
        fetch(tmp_path, replace(archive, unpacked_ratio=1e15), site)
    assert (tmp_path / "part.tar.gz.part").exists() is False


def test_folders_that_cannot_be_used(tmp_path, site, archive):
    (tmp_path / "file").touch()
    for folder in ("file", "file/below"):
        with pytest.raises(DataError, match=f"^{tmp_path}/file"):
            fetch(tmp_path / folder, archive, site)
    (tmp_path / "above/Corpus").mkdir(parents=True)
    with pytest.raises(DataError, match=rf"expected the folder Corpus itself \(pass {tmp_path}/above/Corpus\)"):
        fetch(tmp_path / "above", archive, site)
    lock = FolderLock(str(tmp_path / "busy"), "")
    with pytest.raises(UsageError, match="another process is downloading into this folder"):
        fetch(tmp_path / "busy", archive, site)
    lock.release()
    assert not site.requests


def test_files_that_are_there_are_not_replaced_and_leftovers_are_removed(tmp_path, site, archive):
    (tmp_path / "README").write_text("mine")
    (tmp_path / "part").mkdir()
    fetch(tmp_path, archive, site)
    check(tmp_path)
    assert (tmp_path / "README").read_text() == "mine"


def test_an_archive_without_the_folder_is_refused(tmp_path, site, packed):
    archive = Archive("7/x.tar.gz", site.put("7/x.tar.gz", packed["tar"]({"Other/a": b""})), "Corpus", "part")
    with pytest.raises(DataError, match="no folder Corpus/part in this archive"):
        fetch(tmp_path, archive, site)
    assert names(tmp_path) == ["x.tar.gz.part", "x.tar.gz.part.json"]


FETCH = """
import sys
from ds2cli.corpora._download import Archive, fetch_archives
fetch_archives(sys.argv[1], [Archive("7/part.tar.gz", sys.argv[2], "Corpus", "part")], sys.argv[3])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_was_stopped_is_continued_by_the_next(tmp_path, site, archive, number):
    enough = threading.Event()
    site.delay_s = 0.02
    site.on_block = lambda sent: enough.set() if sent > 50_000 else None
    command = [sys.executable, "-c", FETCH, str(tmp_path / "x"), archive.md5, site.address]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    assert enough.wait(20)
    process.send_signal(number)
    process.wait()
    assert names(tmp_path / "x") == ["part.tar.gz.part", "part.tar.gz.part.json"]
    there = (tmp_path / "x/part.tar.gz.part").stat().st_size
    site.delay_s = 0
    fetch(tmp_path / "x", archive, site)
    check(tmp_path / "x")
    # of a killed process, the last blocks may not have been written
    assert [wants for _, wants in site.requests] == [None, f"bytes={there}-" if there else None]
    assert there > 0 or number == signal.SIGKILL


def test_what_a_process_left_that_was_killed_while_it_unpacked_is_removed(tmp_path, site, archive):
    left = tmp_path / ".99999999.part.part/Corpus/part"
    left.mkdir(parents=True)
    (left / "a.wav").touch()
    fetch(tmp_path, archive, site)
    check(tmp_path)
