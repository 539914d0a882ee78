from __future__ import annotations

from ds2cli.errors import DataError
from ds2cli.train.checkpoint_files import CheckpointFiles


class Disk(dict):
    """Holds so many bytes."""

    room = 100

    def __call__(self, name, data):
        if data is None:
            self.pop(name, None)
            return
        if sum(len(v) for n, v in self.items() if n != name) + len(data) > self.room:
            raise DataError(f"{name}: no space left")
        self[name] = data


def test_what_cannot_be_written_comes_later_in_order():
    disk = Disk()
    files = CheckpointFiles(disk)
    files("last.pt", b"1")
    disk.room = 1
    files("best", b"22")
    assert files.why == "best: no space left"
    files("last.pt", b"3")
    assert disk == {"last.pt": b"1"} and files.why, "last.pt is not ahead of what it speaks of"
    files("best", b"44")
    files("last.pt", b"5")
    disk.room = 100
    files("log", b"6")
    assert disk == {"best": b"44", "last.pt": b"5", "log": b"6"} and not files.why and not files.left
    files("best", None)
    assert "best" not in disk


def test_what_is_not_wanted_makes_room_on_a_full_disk():
    disk = Disk(old=b"x" * 60)
    files = CheckpointFiles(disk)
    files("new", b"y" * 60)
    files("last.pt", b"1")
    assert set(disk) == {"old"} and files.why
    files("old", None)
    assert set(disk) == {"new", "last.pt"} and not files.why


def test_who_writes_nothing_keeps_nothing():
    files = CheckpointFiles(None)
    files("best", b"1")
    assert not files.left and not files.why
