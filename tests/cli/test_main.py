import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from ds2cli import __version__
from ds2cli.cli.lib.filter import count_lines
from ds2cli.cli.main import app
from ds2cli.config.base import build

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(p.stem for p in (ROOT / "ds2cli" / "cli").glob("[a-z]*.py") if p.stem != "main")


def leaf_commands(name=(), command=None):
    """Every command as (words, command), those of groups included."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        return [(name, command)]
    children = [(child, command.get_command(None, child)) for child in command.list_commands(None)]
    return [leaf for child, sub in children for leaf in leaf_commands((*name, child), sub)]


WITH_CONFIG = [(name, c) for name, c in leaf_commands() if any(p.name == "print_config" for p in c.params)]


def test_version(ds2):
    done = ds2("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"ds2 {__version__}")


def test_version_matches_pyproject():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{__version__}"' in text


def test_help_lists_every_command_in_pipeline_order(ds2):
    listed = re.findall(r"^  ([a-z-]+)  ", ds2("--help").stdout.split("Commands:")[1], re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)
    first = ["prepare", "featurize", "train", "emit", "align", "lm", "decode", "score", "transcribe", "data"]
    assert listed == first + sorted(set(COMMANDS) - set(first))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(ds2, command):
    done = ds2(command, "--help")
    assert done.returncode == 0
    assert "Usage: ds2 " in done.stdout


def print_config(name, command, *args):
    """The output of `ds2 NAME --print-config ARGS`, run in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        command.main([*map(str, args), "--print-config"], prog_name=f"ds2 {' '.join(name)}", standalone_mode=False)
    return out.getvalue()


@pytest.mark.parametrize("name, command", WITH_CONFIG, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_printed_config_is_read_back(tmp_path, name, command):
    """Every setting is printed, as a value or as a comment; the positional arguments are not needed."""
    before = [p.required for p in command.params]
    text = print_config(name, command)
    (tmp_path / "c.toml").write_text(text, "utf-8")
    assert print_config(name, command, "--config", tmp_path / "c.toml") == text
    config_type = command.callback.config_type
    assert build(config_type, ("printed", tomllib.loads(text))) == build(config_type)
    for f in fields(config_type):
        assert re.search(rf"^(# )?{f.name} = |^\[{f.name}\]$", text, re.MULTILINE), f.name
    assert [p.required for p in command.params] == before


def test_print_config_resolves_files_assignments_and_options(ds2, tmp_path):
    (tmp_path / "c.toml").write_text("epochs = 3\nseed = 1\n[model]\ncell = 'rnn'\nrnn_size = 7\n")
    done = ds2(
        *("train", "--config", "38m-gru-7x768", "--config", tmp_path / "c.toml", "--set", "seed=2", "--seed", "4"),
        *("--set", "model.rnn_size=8", "--set", "model.rnn_size=9", "--set", "augment.speeds=[0.9, 1.1]"),
        "--print-config",
    )
    assert (done.returncode, done.stderr) == (0, "")
    config = tomllib.loads(done.stdout)
    assert (config["epochs"], config["seed"], config["model"]["rnn_layers"]) == (3, 4, 7)
    assert (config["model"]["cell"], config["model"]["rnn_size"]) == ("rnn", 9)
    assert config["augment"]["speeds"] == [0.9, 1.1]
    assert "minutes" not in config and "# minutes = …" in done.stdout.splitlines()
    assert '# "rnn", "gru" or "lstm"; default "gru"' in done.stdout.splitlines()


def test_print_config_reports_a_wrong_setting(ds2):
    done = ds2("train", "--set", "optim.lrr=1", "--print-config")
    assert done.returncode == 2
    assert done.stderr.strip() == "ds2: --set optim.lrr=1: optim: unknown setting 'lrr', did you mean 'lr'?"
    assert ds2("train").returncode == 2


@pytest.mark.parametrize("args", [[], ["--nope"], ["trian"]])
def test_wrong_usage_exits_2(ds2, args):
    done = ds2(*args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_ctrl_c_prints_one_line_and_exits_130(tmp_path):
    command = [sys.executable, "-m", "ds2cli", "data", "validate", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # more than a pipe buffers: once all of it is written, the command has started to read
    process.stdin.write('{"id":"a","text":""}\n' * 20000)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "ds2: interrupted"
    assert "Traceback" not in stderr


@pytest.mark.parametrize("args", ["--version", "data sort", "data show", "data sort - /dev/full"])
def test_full_device_is_reported_in_one_line(args):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ds2cli", *args.split()]
        done = subprocess.run(command, input='{"id":"a"}\n', stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "ds2: the output cannot be written: no space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command, code, message",
    [
        ("data sort <&-", 3, "ds2: standard input is closed (name a file, or redirect one: < FILE)"),
        ("data sort - OUT <&-", 3, "ds2: standard input is closed (name a file, or redirect one: < FILE)"),
        ("lm - OUT.arpa <&-", 3, "ds2: standard input is closed (name a file, or redirect one: < FILE)"),
        ("data sort IN >&-", 3, "ds2: the output cannot be written: bad file descriptor"),
        ("--version >&-", 3, "ds2: the output cannot be written: bad file descriptor"),
        ("data sort IN OUT 2>&-", 0, ""),
        ("data sort IN OUT 2>/dev/full", 0, ""),
    ],
)
def test_closed_streams_are_reported_only_when_needed(tmp_path, command, code, message):
    (tmp_path / "IN").write_text('{"id":"a"}\n')
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    shell = f"'{sys.executable}' -m ds2cli {command}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1:] == ([message] if message else [])
    assert "Traceback" not in done.stderr
    assert (tmp_path / "OUT").exists() == (code == 0)


def test_a_started_program_gets_the_streams_that_the_shell_closed(tmp_path):
    code = "import subprocess, sys; from ds2cli.cli.main import _reopen_closed_streams as reopen; reopen(); "
    child = "import os; [os.fstat(i) for i in range(3)]"
    code += f"sys.exit(subprocess.run([sys.executable, '-c', {child!r}]).returncode)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(["bash", "-c", f'"{sys.executable}" -c "$0" <&- 2>&-', code], env=env).returncode == 0


def test_an_argument_that_is_not_utf8_is_a_usage_error(tmp_path):
    name = os.fsdecode(b"caf\xe9.jsonl")
    (tmp_path / name).write_text('{"id":"a"}\n')
    command = [sys.executable, "-m", "ds2cli", "data", "sort", name, "OUT"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr.partition(" in UTF-8")[0]) == (2, "ds2: caf\\xe9.jsonl: expected an argument")
    assert not (tmp_path / "OUT").exists()


def test_results_are_utf8_in_any_locale(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "ds2cli", "decode", "--print-config", "--lm", "é"]
    assert tomllib.loads(subprocess.run(command, capture_output=True, env=env).stdout.decode())["lm"] == "é"


def test_count_lines_is_none_for_an_unreadable_file(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "rows.jsonl").write_text('{"id":"a"}\n')
    (tmp_path / "rows.jsonl.gz").write_bytes(b"\n")
    assert (count_lines(str(tmp_path / "rows.jsonl")), count_lines(str(tmp_path / "rows.jsonl.gz"))) == (1, None)
    monkeypatch.setattr(Path, "open", refuse)
    assert count_lines(str(tmp_path / "rows.jsonl")) is None


def test_help_names_the_choices_and_the_default_of_an_option(ds2):
    text = ds2("data", "split", "--help").stdout
    assert re.search(r"--by id\|speaker\|text\|duration\s+Equal numbers", text) and "[default: id]" in text


def test_a_file_above_the_limit_of_its_size_is_reported_in_one_line(tmp_path):
    (tmp_path / "IN").write_text('{"id":"a"}\n')
    shell = f"ulimit -f 0; exec '{sys.executable}' -m ds2cli data sort IN > OUT"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert done.stderr.splitlines()[-1] == "ds2: the output cannot be written: file too large"
