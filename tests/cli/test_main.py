import contextlib
import errno
import io
import json
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
from ds2cli.cli import main
from ds2cli.cli.lib.filter import count_lines
from ds2cli.cli.main import _describe_error as describe_error
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
    first = ["prepare", "featurize", "train", "emit", "align", "segment", "filter", "lm", "decode", "score", "rover"]
    first += ["transcribe", "data"]
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


@pytest.mark.parametrize(("first", "status"), [("pass", -signal.SIGTERM), ("atomic.begin_output()", 143)])
def test_sigterm_ends_a_process_at_once_or_in_order_once_its_output_has_begun(first, status):
    """Within sum(), as within the loading of a library, Python handles no signal."""
    work = "sum(range(10**9))" if first == "pass" else "time.sleep(60)"
    code = f"""
import time
from ds2cli import atomic
from ds2cli.cli import main

def app(prog_name):
    {first}
    print("begun", flush=True)
    {work}

main.app = app
main.main()
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env)
    assert process.stdout.readline() == b"begun\n"
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == status


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
    assert (done.returncode, done.stderr.partition(" (")[0]) == (
        2,
        "ds2: caf\\xe9.jsonl: a file name that is not UTF-8, perhaps Windows-1252 for 'café'",
    )
    assert not (tmp_path / "OUT").exists()


def test_results_are_utf8_in_any_locale(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "ds2cli", "decode", "--print-config", "--lm", "é"]
    assert tomllib.loads(subprocess.run(command, capture_output=True, env=env).stdout.decode())["lm"] == "é"


@pytest.mark.long
@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_rows_are_utf8_and_what_people_read_is_replaced_in_any_locale(tmp_path, variables):
    row = '{"id":"ł","text":"żaba grün","pred_text":"żaba","audio_filepath":"ł.wav"}'
    (tmp_path / "żaby.jsonl").write_text(row + "\n", "utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}

    def run(*args):
        command = [sys.executable, "-m", "ds2cli", *args]
        done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    green = b"gr\xfcn" if "LC_ALL" not in variables else b"gr?n"
    assert b"?aba " + green in run("data", "show", "żaby.jsonl")
    assert b"alphabet   a" in run("data", "stats", "żaby.jsonl")
    assert b"? ref   ?aba  " + green in run("score", "żaby.jsonl", "--worst", "1")
    assert run("data", "sort", "żaby.jsonl").decode().rstrip() == row
    run("data", "sort", "żaby.jsonl", "łąki.jsonl")
    assert (tmp_path / "łąki.jsonl").read_text("utf-8").rstrip() == row
    assert "żaby.jsonl" in (tmp_path / "łąki.jsonl.config.toml").read_text("utf-8")


@pytest.mark.parametrize(
    "error, message",
    [
        (PermissionError(13, "Permission denied", "exp/x"), "exp/x: permission denied"),
        (OSError(errno.ESTALE, "Stale file handle", "a.ark"), "a.ark: stale file handle"),
        (OSError(errno.EMFILE, "Too many open files", "b"), "b: too many open files (ulimit -n 4096"),
        (OSError(errno.ENOSPC, "No space left on device"), "the output cannot be written: no space left on device"),
        (OSError("broken"), "broken (DS2_TRACEBACK=1"),
        (RecursionError("maximum"), "a file is too deeply nested to be read"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "a text or a file name is not UTF-8: "),
    ],
)
def test_an_error_of_the_system_is_one_line(error, message):
    assert describe_error(error).startswith(message)


@pytest.mark.parametrize("error, status", [(PermissionError(13, "Permission denied", "x"), 3), (KeyError("x"), None)])
def test_a_bug_keeps_its_traceback(monkeypatch, capsys, error, status):
    def fail(**_):
        raise error

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr(sys, "argv", ["ds2", "data"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises((SystemExit, KeyError)) as e:
        main.main()
    assert getattr(e.value, "code", None) == status
    assert capsys.readouterr().err.startswith("ds2: x: permission denied\n") == (status == 3)


@pytest.mark.parametrize(
    "error, lack",
    [
        (MemoryError(), "more is needed"),
        (RuntimeError("can't start new thread"), "no thread can be started"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "more is needed"),
    ],
)
def test_a_lack_of_memory_is_one_line(monkeypatch, capsys, error, lack):
    def fail(**_):
        raise error

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr(sys, "argv", ["ds2", "data"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as e:
        main.main()
    assert e.value.code == 1
    assert capsys.readouterr().err == f"ds2: this command does not fit in memory: {lack} ({main.MEMORY_FIX})\n"


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


@pytest.mark.parametrize(
    ("command", "message", "files"),
    [
        ("data sort IN", "", []),
        ("data show IN --most 5000", "", []),
        ("data stats IN", "", []),
        ("data sort IN /dev/stdout", "", []),
        (
            "data sort IN --dropped LIST",
            "ds2: not written, because the output was no longer read: LIST (let it read to the end)\n",
            [],
        ),
        ("score IN OUT", None, ["OUT", "OUT.config.toml"]),
    ],
)
def test_a_reader_that_leaves_ends_a_command_quietly_and_files_that_do_not_appear_are_named(
    tmp_path, command, message, files
):
    row = {"text": "a b " * 50, "pred_text": "a c " * 50}
    rows = "".join(json.dumps({"id": f"{i:04}", **row}) + "\n" for i in range(1000))
    (tmp_path / "IN").write_text(rows)
    reader, writer = os.pipe()
    # the reader has left before the first write, so that it does not depend on the size of a pipe
    os.close(reader)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "ds2cli", *command.split()]
    done = subprocess.run(run, cwd=tmp_path, env=env, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 141 and "Traceback" not in done.stderr
    assert message is None or done.stderr == message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["IN", *files]
