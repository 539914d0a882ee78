"""What lies at a path that is read."""

import os
import pty
import socket
import subprocess

import pytest

from ds2cli import inputs


@pytest.fixture
def terminal():
    leader, follower = pty.openpty()
    yield os.ttyname(follower)
    os.close(leader)
    os.close(follower)


@pytest.fixture
def listening(tmp_path, monkeypatch):
    # the path of a socket may have no more than 107 bytes
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket")
        yield "socket"


def test_files_pipes_terminals_and_the_rest_are_told_apart(tmp_path, piped, terminal, listening):
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to(piped(b"x"))
    kinds = {
        tmp_path / "a": "",
        os.devnull: "",
        tmp_path: "a folder",
        tmp_path / "pipe": "a pipe",
        tmp_path / "link": "a pipe",
        listening: "a socket",
        "/dev/zero": "a device",
        terminal: "a terminal",
    }
    assert {path: inputs.describe_special(path) for path in kinds} == kinds
    assert [str(path) for path in kinds if inputs.is_stream(path)] == [f"{tmp_path}/pipe", f"{tmp_path}/link", terminal]
    assert not inputs.is_stream(tmp_path / "missing")
    assert not inputs.is_stream("nul\0")


def test_an_open_descriptor_is_described():
    read, write = os.pipe()
    assert inputs.describe_special(read) == "a pipe"
    os.close(read)
    os.close(write)


def test_files_and_pipes_are_read_once(tmp_path, piped):
    (tmp_path / "a").write_bytes(b"abc")
    assert inputs.read_bytes(tmp_path / "a") == b"abc"
    assert inputs.read_bytes(piped(b"x" * 100_000)) == b"x" * 100_000
    assert inputs.read_bytes(os.devnull) == b""


@pytest.mark.parametrize("require", [inputs.open_bytes, inputs.require_file])
def test_folders_sockets_and_devices_are_not_opened(tmp_path, listening, require):
    (tmp_path / "endless").symlink_to("/dev/zero")
    for path, kind in [(tmp_path, "a folder"), (listening, "a socket"), (tmp_path / "endless", "a device")]:
        with pytest.raises(OSError, match=f"this is {kind}, expected a file"):
            require(path)


def test_the_message_for_a_pipe_has_a_command_that_helps(tmp_path, piped):
    path = piped(b"some bytes", "with space")
    with pytest.raises(OSError, match="this is a pipe, which can be read only once, expected a file") as e:
        inputs.require_file(path)
    command = inputs.explain_error(e.value).rpartition("(")[2].removesuffix(")").replace("FILE", "copy")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, timeout=10)
    assert (tmp_path / "copy").read_bytes() == b"some bytes"
    inputs.require_file(tmp_path / "copy")


def test_no_command_names_the_file_of_a_process_substitution():
    command = "python -c 'import sys; from ds2cli import inputs; inputs.require_file(sys.argv[1])' <(echo)"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "expected a file (COMMAND > FILE)" in done.stderr


def test_a_signal_ends_the_wait_for_a_pipe(interrupted):
    with pytest.raises(SystemExit):
        inputs.read_bytes(interrupted)


def test_an_error_of_the_system_begins_in_lower_case(tmp_path):
    with pytest.raises(FileNotFoundError) as e:
        inputs.open_bytes(tmp_path / "missing")
    assert inputs.explain_error(e.value) == "no such file or directory"
