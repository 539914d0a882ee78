import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli import __version__
from ds2cli.cli.lib.filter import count_lines

COMMANDS = sorted(p.stem for p in (Path(__file__).parents[2] / "ds2cli" / "cli").glob("[a-z]*.py") if p.stem != "main")


def test_version(ds2):
    done = ds2("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"ds2 {__version__}")


def test_the_version_is_that_of_the_package():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{__version__}"' in text


def test_help_names_every_command_in_the_order_of_the_work(ds2):
    listed = re.findall(r"^  ([a-z-]+)  ", ds2("--help").stdout.split("Commands:")[1], re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)
    assert listed[:4] == ["prepare", "featurize", "train", "emit"]
    assert listed.index("lm") < listed.index("decode") < listed.index("score")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(ds2, command):
    done = ds2(command, "--help")
    assert done.returncode == 0
    assert "Usage: ds2 " in done.stdout


@pytest.mark.parametrize("args", [[], ["--nope"], ["trian"]])
def test_wrong_usage_exits_2(ds2, args):
    done = ds2(*args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_one_line_and_130(tmp_path):
    command = [sys.executable, "-m", "ds2cli", "data", "validate", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # more than a pipe holds: once it is written the command has begun to read
    process.stdin.write('{"id":"a","text":""}\n' * 20000)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "ds2: interrupted"
    assert "Traceback" not in said


@pytest.mark.parametrize("args", ["--version", "data sort", "data show", "data sort - /dev/full"])
def test_a_full_device_is_one_line(args):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ds2cli", *args.split()]
        done = subprocess.run(command, input='{"id":"a"}\n', stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "ds2: the output cannot be written: no space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command, code, says",
    [
        ("data sort <&-", 3, "ds2: standard input is closed (fix: name a file, or < FILE)"),
        ("data sort - OUT <&-", 3, "ds2: standard input is closed (fix: name a file, or < FILE)"),
        ("lm - OUT.arpa <&-", 3, "ds2: standard input is closed (fix: name a file, or < FILE)"),
        ("data sort IN >&-", 3, "ds2: the output cannot be written: bad file descriptor"),
        ("--version >&-", 3, "ds2: the output cannot be written: bad file descriptor"),
        ("data sort IN OUT 2>&-", 0, ""),
    ],
)
def test_what_the_shell_closed_is_one_line_where_it_is_needed(tmp_path, command, code, says):
    (tmp_path / "IN").write_text('{"id":"a"}\n')
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    shell = f"'{sys.executable}' -m ds2cli {command}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1:] == ([says] if says else [])
    assert "Traceback" not in done.stderr
    assert (tmp_path / "OUT").exists() == (code == 0)


def test_rows_that_cannot_be_opened_have_no_number(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "rows.jsonl").write_text('{"id":"a"}\n')
    assert count_lines(str(tmp_path / "rows.jsonl")) == 1
    monkeypatch.setattr(Path, "open", refuse)
    assert count_lines(str(tmp_path / "rows.jsonl")) is None
