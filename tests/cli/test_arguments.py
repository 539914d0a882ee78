import os
import re
import subprocess
from pathlib import Path

import pytest

from ds2cli.cli.lib.arguments import check_arguments
from ds2cli.errors import UsageError


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["prepare", "folder", "", "-"], "the argument after 'folder' is empty, perhaps a variable that is not set"),
        ([""], "the argument after 'ds2' is empty, perhaps a variable that is not set"),
        (["score", "--", ""], "the argument after '--' is empty, perhaps a variable that is not set"),
        (
            ["decode", "exp", "-", "-", "--lm", ""],
            "the argument after '--lm' is empty, perhaps a variable that is not set (--lm= for a value that is empty)",
        ),
        (
            ["lm", "a", "caf\udce9"],
            "caf\\xe9: expected an argument in UTF-8: not UTF-8, perhaps Windows-1252 for 'café'",
        ),
    ],
)
def test_arguments_that_no_command_accepts(arguments, message):
    with pytest.raises(UsageError) as e:
        check_arguments(arguments)
    assert str(e.value) == message


def test_other_arguments_are_accepted():
    check_arguments([])
    check_arguments(["data", "subset", "--match=", "größer", "-", " "])


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "folder", "", "-", "--no-text"],
        ["transcribe", "exp", ""],
        ["data", "stats", ""],
        ["data", "combine", "a.jsonl", "", "b.jsonl"],
        ["lm", "a.txt", "b.arpa", "--order", ""],
        ["model", "show", ""],
    ],
)
def test_every_command_refuses_an_empty_argument(ds2, tmp_path, arguments):
    done = ds2(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"ds2: the argument after '{arguments[arguments.index('') - 1]}' is empty"), (
        done.stderr
    )
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, new",
    [
        (b"aufnahmen_gr\xfcn/a.wav", "aufnahmen_grün/a.wav"),
        (b"a/it's \\n \xc9t\xe9", "a/it's \\n Été"),
        ("grün ".encode() + b"\xfca\x81.wav", "grün üa_.wav"),
    ],
)
def test_the_command_that_renames_a_file_helps(tmp_path, monkeypatch, name, new):
    monkeypatch.chdir(tmp_path)
    file = Path(os.fsdecode(name))
    file.parent.mkdir(exist_ok=True)
    file.write_text("x")
    with pytest.raises(UsageError, match="a file name that is not UTF-8") as e:
        check_arguments(["data", "show", str(file)])
    subprocess.run(["bash", "-c", re.search(r"\((mv .*)\)$", str(e.value))[1]], check=True)
    assert (tmp_path / new).read_text() == "x"
    check_arguments(["data", "show", new])
