"""Files that appear whole, together or not at all, and what is left of killed processes."""

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ds2cli import atomic
from ds2cli.atomic import (
    apart,
    extending,
    find_written,
    link_file,
    remove_abandoned_files,
    remove_file,
    replacing,
    replacing_files,
    temporary_folder,
    together,
    workspace,
)
from ds2cli.errors import DataError
from ds2cli.io import open_out, open_out_bytes

ROOT = Path(__file__).parents[1]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(path, text="new"):
    with open_out(str(path)) as f:
        f.write(text)


def killed(code, folder):
    """Run code in a process that is killed at its end."""
    code = f"{code}\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, env=env).returncode == -9


@pytest.fixture
def another_process(monkeypatch):
    """The folders that a process has searched; a new process has searched none."""
    monkeypatch.setattr(atomic, "_searched", set())
    return atomic._searched


def test_files_of_a_block_appear_at_its_end(tmp_path):
    (tmp_path / "a").write_text("old")
    with together():
        write(tmp_path / "a")
        with together():
            write(tmp_path / "b.gz")
        assert (tmp_path / "a").read_text() == "old" and not (tmp_path / "b.gz").exists()
    assert names(tmp_path) == ["a", "b.gz"] and (tmp_path / "a").read_text() == "new"
    write(tmp_path / "a", "outside")
    assert (tmp_path / "a").read_text() == "outside", "a block has an end"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, DataError, SystemExit])
def test_after_an_error_in_a_block_every_file_is_the_old_one(tmp_path, error):
    (tmp_path / "a").write_text("old")
    with pytest.raises(error), together():
        write(tmp_path / "a")
        with open_out_bytes(str(tmp_path / "b")) as f:
            f.write(b"half")
            raise error
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_a_file_apart_from_its_block_appears_at_once_and_stays(tmp_path):
    with pytest.raises(DataError), together():
        write(tmp_path / "a")
        with apart():
            write(tmp_path / "b")
        assert names(tmp_path)[-1] == "b"
        write(tmp_path / "c")
        raise DataError("stopped")
    assert names(tmp_path) == ["b"]


def test_a_file_of_a_block_that_cannot_be_replaced_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"/b: cannot be written: is a directory$"), together():
        write(tmp_path / "b")
        (tmp_path / "b").mkdir()
    assert names(tmp_path) == ["b"]


def test_a_file_that_is_written_twice_in_a_block_has_the_last_content(tmp_path):
    with together():
        for text in ("first", "second"):
            write(tmp_path / "a", text)
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "second"


def test_two_writers_of_one_file_write_it_whole_and_the_last_one_wins(tmp_path):
    with open_out(str(tmp_path / "a")) as first:
        first.write("first")
        with open_out(str(tmp_path / "a")) as second:
            second.write("second, longer")
        assert (tmp_path / "a").read_text() == "second, longer"
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "first"


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_to_the_folder(tmp_path, another_process, name):
    place = tmp_path / "place"
    killed(f"from ds2cli.io import open_out\nout = open_out('place/{name}')\nout.__enter__().write('half')", tmp_path)
    (left,) = names(place)
    assert left.endswith(f".part.{name}")
    write(place / "another")
    assert names(place) == ["another"]


def test_only_abandoned_files_of_this_kind_are_removed(tmp_path, another_process):
    others = [".part.a", ".1.part", ".x.part.a", "1.part.a", ".1.party.a", ".hidden"]
    for name in [*others, ".1.part.a", ".22.part.out.jsonl.gz"]:
        (tmp_path / name).write_text("half")
    (tmp_path / ".3.part.folder").mkdir()
    (tmp_path / ".4.part.link").symlink_to(tmp_path / ".hidden")
    os.mkfifo(tmp_path / ".5.part.fifo")
    with (tmp_path / ".6.part.a").open("w") as live:
        fcntl.flock(live, fcntl.LOCK_EX)
        write(tmp_path / "a")
        left = {*names(tmp_path)}
    assert left - {".3.part.folder"} == {*others, ".4.part.link", ".5.part.fifo", ".6.part.a", "a"}
    remove_abandoned_files(tmp_path)
    assert ".6.part.a" not in names(tmp_path), "its process has ended"
    remove_abandoned_files(tmp_path / "missing")


def test_files_of_other_users_and_of_file_systems_without_locks_stay(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / ".1.part.a").write_text("half")
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 12345)
        remove_abandoned_files(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        remove_abandoned_files(tmp_path)
        write(tmp_path / "b")
    assert names(tmp_path) == [".1.part.a", "b"]
    remove_abandoned_files(tmp_path)
    assert names(tmp_path) == ["b"]


def test_a_file_that_another_process_took_for_abandoned_before_it_was_locked_is_created_again(tmp_path, monkeypatch):
    flock, calls = fcntl.flock, []

    def lose_the_first(descriptor, operation):
        calls.append(operation)
        if len(calls) == 1:
            for part in tmp_path.glob(".*.part.*"):
                part.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lose_the_first)
    write(tmp_path / "a")
    assert names(tmp_path) == ["a"] and len(calls) == 2


def test_the_name_of_another_process_with_the_same_number_is_not_taken(tmp_path):
    other = tmp_path / f".{os.getpid()}.part.a"
    with other.open("w") as live:
        fcntl.flock(live, fcntl.LOCK_EX)
        live.write("of another container")
        live.flush()
        write(tmp_path / "a")
        assert other.read_text() == "of another container" and (tmp_path / "a").read_text() == "new"


def test_temporary_folders_of_killed_processes_are_removed_and_those_in_use_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "from ds2cli.atomic import temporary_folder\nfolder = temporary_folder('ds2-x-')\n"
    killed(f"{code}(folder.__enter__() / 'a').write_text('half')", tmp_path)
    (tmp_path / "ds2-y-1").mkdir()
    (left,) = tmp_path.glob("ds2-x-*")
    with temporary_folder("ds2-x-") as first, temporary_folder("ds2-x-") as second:
        assert not left.exists() and first.is_dir() and second.is_dir()
        assert first.stat().st_mode & 0o077 == 0
        (first / "a").write_text("x")
    assert names(tmp_path) == ["ds2-y-1"]


def test_a_reader_that_leaves_is_noted_with_each_file_that_does_not_appear(tmp_path):
    def lose_reader():
        with together(), replacing(str(tmp_path / "b")) as file:
            write(tmp_path / "a")
            file.write_text("half")
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError) as error:
        lose_reader()
    assert error.value.__notes__ == [str(tmp_path / "b"), str(tmp_path / "a")] and names(tmp_path) == []


def test_the_files_of_a_folder_appear_together(tmp_path):
    folder = tmp_path / "new" / "labels"
    with together():
        with replacing_files(str(folder)) as place:
            (place / "a").write_text("1")
            (place / "b").write_text("2")
        assert [path.name for path in folder.iterdir()] == [place.name]
        write(tmp_path / "out")
    assert names(folder) == ["a", "b"] and names(tmp_path) == ["new", "out"]
    with replacing_files(str(folder)) as place:
        (place / "b").write_text("3")
    assert names(folder) == ["a", "b"] and (folder / "b").read_text() == "3"


def test_after_an_error_the_files_of_a_folder_are_the_old_ones(tmp_path):
    write(tmp_path / "a", "old")
    with pytest.raises(RuntimeError), together(), replacing_files(str(tmp_path)) as place:
        (place / "a").write_text("new")
        raise RuntimeError
    with pytest.raises(RuntimeError), together():
        with replacing_files(str(tmp_path)) as place:
            (place / "a").write_text("new")
        raise RuntimeError
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="cannot be written: "), replacing_files(str(tmp_path)) as place:
        (place / "a").write_text("new")
        (place / "b").write_text("new")
    with pytest.raises(DataError, match="a: cannot be written: "), replacing_files(str(tmp_path / "a")):
        pass
    assert names(tmp_path) == ["a", "b"] and (tmp_path / "a").read_text() == "old"


def test_a_killed_process_leaves_a_folder_that_the_next_one_removes(tmp_path):
    killed(
        "from ds2cli.atomic import replacing_files\n"
        "place = replacing_files('.')\n"
        "(place.__enter__() / 'a').write_text('1')",
        tmp_path,
    )
    assert len(names(tmp_path)) == 1
    with replacing_files(str(tmp_path)) as place:
        (place / "b").write_text("2")
    assert names(tmp_path) == ["b"]


def test_a_linked_file_keeps_its_own_name_and_appears_at_the_end(tmp_path):
    part, target = tmp_path / "part", tmp_path / "new" / "target"
    part.write_text("content")
    with pytest.raises(ValueError), together():
        link_file(part, str(target))
        raise ValueError
    assert not target.exists() and part.read_text() == "content"
    for _ in range(2):
        with together():
            link_file(part, str(target))
            assert find_written(str(target)) == part
        assert target.samefile(part)
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("is_same", [False, True])
def test_what_refers_to_a_replaced_archive_is_removed_before(tmp_path, monkeypatch, is_same):
    write(tmp_path / "rows", "old rows")
    write(tmp_path / "part", "new")
    os.link(tmp_path / "part", tmp_path / "x.ark") if is_same else write(tmp_path / "x.ark", "old")

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(DataError), together():
        link_file(tmp_path / "part", str(tmp_path / "x.ark"))
        write(tmp_path / "rows", "new rows")
        monkeypatch.setattr(os, "replace", fail)
    monkeypatch.undo()
    assert (tmp_path / "rows").exists() == is_same
    with together():
        link_file(tmp_path / "part", str(tmp_path / "x.ark"))
        write(tmp_path / "rows", "new rows")
    assert (tmp_path / "rows").read_text() == "new rows" and (tmp_path / "x.ark").read_text() == "new"


def test_without_links_the_file_is_moved(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "part").write_text("content")
    link_file(tmp_path / "part", str(tmp_path / "target"))
    assert (tmp_path / "target").read_text() == "content" and not (tmp_path / "part").exists()


def test_an_obsolete_file_is_removed_at_the_end(tmp_path):
    (tmp_path / "old").touch()
    with pytest.raises(ValueError), together():
        remove_file(str(tmp_path / "old"))
        raise ValueError
    assert (tmp_path / "old").exists()
    with together():
        remove_file(str(tmp_path / "old"))
        assert (tmp_path / "old").exists()
    assert not (tmp_path / "old").exists()
    remove_file(str(tmp_path / "old"))


def test_a_workspace_is_there_until_its_files_have_their_names(tmp_path):
    with together():
        with workspace(str(tmp_path / "x")) as folder:
            (folder / "part").write_text("content")
            link_file(folder / "part", str(tmp_path / "x" / "target"))
        assert folder.is_dir()
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["target"]
    with pytest.raises(ValueError), workspace(str(tmp_path / "x")) as folder:
        raise ValueError
    assert not folder.exists()


def test_an_unfinished_file_is_continued_from_a_position(tmp_path):
    file = tmp_path / "part"
    with extending("x.ark", file) as f:
        f.write(b"0123456789")
    with pytest.raises(ValueError), extending("x.ark", file, 4) as f:
        f.write(b"ab")
        raise ValueError
    assert file.read_bytes() == b"0123ab"
    with extending("x.ark", file, 3) as f:
        assert f.tell() == 3


def test_an_unfinished_file_with_another_name_is_not_changed_under_it(tmp_path):
    """A run that was killed when its archive had its name already."""
    file, target = tmp_path / "part", tmp_path / "x.ark"
    file.write_bytes(b"0123456789")
    os.link(file, target)
    with extending(str(target), file, 4) as f:
        f.write(b"ab")
    assert (file.read_bytes(), target.read_bytes()) == (b"0123ab", b"0123456789")
    assert {path.name for path in tmp_path.iterdir()} == {"part", "x.ark"}


def test_an_unfinished_file_that_cannot_be_written_is_named_as_its_output(tmp_path):
    with pytest.raises(DataError, match=r"x\.ark: cannot be written: "), extending("x.ark", tmp_path / "no" / "part"):
        pass
