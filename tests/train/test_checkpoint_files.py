from __future__ import annotations

from ds2cli.errors import DataError
from ds2cli.train.checkpoint_files import CheckpointFiles


class Disk(dict):
    """A folder in memory with a limited capacity in bytes."""

    capacity = 100

    def __call__(self, name, data):
        if data is None:
            self.pop(name, None)
            return
        if sum(len(v) for n, v in self.items() if n != name) + len(data) > self.capacity:
            raise DataError(f"{name}: no space left")
        self[name] = data


def test_files_that_cannot_be_written_are_written_later_in_order():
    disk = Disk()
    files = CheckpointFiles(disk)
    files("last.pt", b"1")
    disk.capacity = 1
    files("best", b"22")
    assert files.error == "best: no space left"
    files("last.pt", b"3")
    assert disk == {"last.pt": b"1"} and files.error, "last.pt is not newer than the files it relies on"
    files("best", b"44")
    files("last.pt", b"5")
    disk.capacity = 100
    files("log", b"6")
    assert disk == {"best": b"44", "last.pt": b"5", "log": b"6"} and not files.error and not files.pending
    files("best", None)
    assert "best" not in disk


def test_a_file_that_still_waits_goes_behind_the_files_written_since():
    disk, order = Disk(), []
    disk.capacity = 0

    def store(name, data):
        disk(name, data)
        order.append((name, data))

    files = CheckpointFiles(store)
    files("last.pt", b"1")
    files("best", b"2")
    files("last.pt", b"3")
    disk.capacity = 100
    files("log", b"4")
    assert order == [("best", b"2"), ("last.pt", b"3"), ("log", b"4")]


def test_removing_files_frees_space_on_a_full_disk():
    disk = Disk(old=b"x" * 60)
    files = CheckpointFiles(disk)
    files("new", b"y" * 60)
    files("last.pt", b"1")
    assert set(disk) == {"old"} and files.error
    files("old", None)
    assert set(disk) == {"new", "last.pt"} and not files.error


def test_without_a_store_nothing_is_kept():
    files = CheckpointFiles(None)
    files("best", b"1")
    assert not files.pending and not files.error


def test_a_file_that_cannot_be_removed_is_named_and_removed_later():
    disk, refused = Disk(old=b"1"), ["old"]

    def store(name, data):
        if data is None and name in refused:
            raise DataError(f"{name}: cannot be removed")
        disk(name, data)

    files = CheckpointFiles(store)
    files("old", None)
    assert files.error == "old: cannot be removed" and "old" in disk
    refused.clear()
    files("log", b"2")
    assert disk == {"log": b"2"} and not files.error
