import errno
import fcntl
import gzip
import io
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ds2cli.encoding import decode
from ds2cli.errors import DataError, UsageError
from ds2cli.io import (
    FolderLock,
    open_in,
    open_out,
    open_out_bytes,
    read_bytes,
    read_lines,
    redirect_target,
    require_writable,
)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_round_trip(tmp_path, name):
    path = str(tmp_path / name)
    with open_out(path) as f:
        f.write("héllo 你好\r\n")
    with open_in(path) as f:
        assert f.read() == "héllo 你好\r\n"
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_bytes_of_another_encoding_become_lone_surrogates(tmp_path, monkeypatch):
    (tmp_path / "latin").write_bytes(b"caf\xe9\r\n")
    (tmp_path / "latin.gz").write_bytes(gzip.compress(b"caf\xe9\r\n"))
    with (tmp_path / "latin").open(encoding="ascii") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        for name in (str(tmp_path / "latin"), str(tmp_path / "latin.gz"), "-"):
            with open_in(name) as f:
                assert f.read() == "caf\udce9\r\n"


def test_the_same_rows_make_the_same_gzip(tmp_path, monkeypatch):
    files = []
    for now in (1e9, 2e9):
        monkeypatch.setattr("time.time", lambda now=now: now)
        with open_out(str(tmp_path / f"{now}.gz")) as f:
            f.write("x" * 99)
        files.append((tmp_path / f"{now}.gz").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("opener", [open_out, open_out_bytes])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, opener):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(RuntimeError), opener(str(path)) as f:
        f.write("new" if opener is open_out else b"new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_read_only_file_system_is_a_data_error(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(DataError, match=r"a: cannot be written: read-only file system$"), open_out(str(tmp_path / "a")):
        pass


def test_a_pipe_stays_a_pipe(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_text()))
    reader.start()
    with open_out(str(fifo)) as f:
        f.write("x")
    reader.join(5)
    assert got == ["x"]
    assert fifo.is_fifo()


def test_dev_stdout_can_be_written():
    command = "from ds2cli.io import open_out\nwith open_out('/dev/stdout') as f: f.write('x')"
    done = subprocess.run([sys.executable, "-c", command], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"x"


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with open_out(str(tmp_path / "link")) as f:
        f.write("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "x"


def test_missing_folders_are_created(tmp_path):
    with open_out(str(tmp_path / "a" / "b" / "c")) as f:
        f.write("x")
    assert (tmp_path / "a" / "b" / "c").read_text() == "x"


@pytest.mark.parametrize("name", ["missing", ".", "file/x"])
def test_an_unreadable_input_is_a_data_error(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=str(tmp_path)), open_in(str(tmp_path / name)):
        pass


@pytest.mark.parametrize(
    "broken",
    [gzip.compress(b"x" * 1000)[:20], gzip.compress(b"")[:10] + b"\xff" * 20],
    # the bytes contain the time, and all processes must give a test the same name
    ids=["cut", "invalid"],
)
def test_a_broken_gzip_file_is_a_data_error(tmp_path, broken):
    path = tmp_path / "a.gz"
    path.write_bytes(broken)
    with pytest.raises(DataError, match="gzip"), open_in(str(path)) as f:
        f.read()


def test_gzip_data_is_unpacked_under_any_name_and_from_a_pipe(tmp_path, monkeypatch):
    packed = gzip.compress(b"one\n") + gzip.compress("zwölf\n".encode())
    (tmp_path / "a.txt").write_bytes(packed)
    (tmp_path / "plain.gz").write_text("one\n")
    assert list(read_lines(str(tmp_path / "a.txt"))) == [(1, "one"), (2, "zwölf")]
    assert list(read_lines(str(tmp_path / "plain.gz"))) == [(1, "one")]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(packed)))
    assert list(read_lines("-")) == [(1, "one"), (2, "zwölf")]


def test_standard_input_is_read_once(monkeypatch):
    """Two arguments that are - would each have a part of it."""
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
        lines = read_lines("-")
        assert next(lines) == (1, "a")
        for read in (read_bytes, lambda path: next(read_lines(path))):
            with pytest.raises(DataError, match=r"^<stdin>: two arguments are -, .* only once \(name a file\)$"):
                read("-")
        assert list(lines) == [(2, "b")]


@pytest.mark.parametrize("path", ["/dev/zero", "stdin"])
def test_a_device_is_no_input(tmp_path, monkeypatch, path):
    with Path("/dev/zero").open() as endless:
        monkeypatch.setattr("sys.stdin", endless)
        with pytest.raises(DataError, match=r"(/dev/zero|<stdin>): this is a device, expected a file"):
            read_bytes("-" if path == "stdin" else path)


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_in_each_encoding_and_with_each_line_end(tmp_path, codec, line_end):
    path = tmp_path / "a"
    # more than the first read: the codec and the line ends are found once, at the start
    lines = ["ab", "", "ਅ\u2028é\x85\x0b", "\U0001f600" * 9] * 20000
    path.write_bytes(line_end.join(lines).encode(codec))
    assert [line for _, line in read_lines(str(path))] == lines
    assert decode(path.read_bytes()) == "\n".join(lines)


def test_a_carriage_return_within_a_line_is_no_line_end(tmp_path):
    (tmp_path / "a").write_bytes(b"a\rb\nc\rd\r\n")
    assert list(read_lines(str(tmp_path / "a"))) == [(1, "a\rb"), (2, "c\rd")]


def test_the_marks_of_joined_files_are_skipped(tmp_path):
    (tmp_path / "a").write_bytes("\ufeffa\ufeff\n\ufeffb\n".encode())
    assert list(read_lines(str(tmp_path / "a"))) == [(1, "a\ufeff"), (2, "b")]


def test_a_line_of_a_pipe_is_read_before_the_next_one_is_written():
    reader, writer = os.pipe()
    os.write(writer, b"one\n")
    lines = read_lines(f"/dev/fd/{reader}")
    assert next(lines) == (1, "one")
    os.write(writer, b"two\n")
    assert next(lines) == (2, "two")
    os.close(writer)
    assert list(lines) == []
    os.close(reader)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"RIFF$\0\0\0WAVEfmt ", "a WAV recording"),
        (b"PK\x03\x04\x14\0", "a ZIP archive or an Excel workbook (save it as CSV UTF-8)"),
        (b"%PDF-1.7\n", "a PDF file"),
        (b"\x7fELF\0\0\0\0\0\0\0\0", "a binary file"),
        (gzip.compress(b"\0" * 99), "a binary file"),
    ],
    # the compressed bytes contain the time
    ids=["wav", "zip", "pdf", "elf", "gzip"],
)
def test_a_file_that_is_no_text_is_an_error(tmp_path, head, kind):
    (tmp_path / "a").write_bytes(head)
    with pytest.raises(DataError, match=rf"/a: expected a text file, found {re.escape(kind)}$"):
        list(read_lines(str(tmp_path / "a")))


def test_a_damaged_byte_costs_only_its_line(tmp_path):
    (tmp_path / "a").write_bytes(b"one \0 two three four\nfive\n")
    assert len(list(read_lines(str(tmp_path / "a")))) == 2


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), OSError(errno.ESTALE, "Stale file handle")]
)
def test_a_failed_read_is_an_error_of_the_file_and_that_of_the_reader_is_not(tmp_path, monkeypatch, error):
    class Broken(io.BytesIO):
        def read1(self, size=-1):
            if self.tell():
                raise error
            return super().read1(3)

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Broken(b"a\nb\nc\n")))
    with pytest.raises(DataError, match=f"^<stdin>: {error.strerror.lower()}$"):
        list(read_lines("-"))
    (tmp_path / "a").write_text("x\n")
    with pytest.raises(OSError, match="of the reader"), open_in(str(tmp_path / "a")):
        raise OSError(errno.EIO, "of the reader")


def test_bytes_that_are_not_utf8_become_surrogates(tmp_path):
    (tmp_path / "a").write_bytes("é\n".encode("latin-1"))
    with open_in(str(tmp_path / "a")) as f:
        assert f.read() == "\udce9\n"


def test_an_error_of_another_file_names_that_file(tmp_path):
    with pytest.raises(DataError, match=r"missing\.wav: no such file or directory$"), open_out(str(tmp_path / "out")):
        (tmp_path / "missing.wav").open()
    with pytest.raises(DataError, match=r"out: cannot be written: no space left"), open_out(str(tmp_path / "out")):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_found_writable_without_being_written(tmp_path):
    (tmp_path / "a").write_text("old")
    for name in ("a", "b", "new/c"):
        require_writable(str(tmp_path / name))
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "new"]


@pytest.mark.parametrize(
    ("name", "message"), [("", "this is a folder, expected a file name"), ("a/b", "its folder cannot be created: ")]
)
def test_a_path_that_cannot_be_written_is_a_data_error(tmp_path, name, message):
    (tmp_path / "a").touch()
    with pytest.raises(DataError, match=message):
        require_writable(str(tmp_path / name))
    with pytest.raises(DataError, match=message), open_out(str(tmp_path / name)):
        pass


def test_a_folder_has_one_lock_at_a_time(tmp_path):
    folder = str(tmp_path / "new")
    lock = FolderLock(folder, "busy")
    for _ in range(2):
        with pytest.raises(UsageError, match=rf"^{folder}: busy$"):
            FolderLock(folder, "busy")
    lock.release()
    lock.release()
    FolderLock(folder, "busy").release()


def test_the_file_behind_a_stream_is_found(tmp_path):
    file = tmp_path / "rows é.jsonl"
    with file.open("w") as stream:
        assert redirect_target(stream) == str(file)


def test_the_file_behind_a_stream_is_found_as_on_macos(tmp_path, monkeypatch):
    """fcntl returns the path, in a buffer of the given size; there is no /proc."""
    file = tmp_path / "rows é.jsonl"
    with file.open("w") as stream:
        asked = []

        def answer(descriptor, command, buffer):
            asked.append((descriptor, command))
            return os.fsencode(file).ljust(len(buffer), b"\0")

        monkeypatch.setattr(fcntl, "F_GETPATH", 50, raising=False)
        monkeypatch.setattr(fcntl, "fcntl", answer)
        assert redirect_target(stream) == str(file) and asked == [(stream.fileno(), 50)]
