"""The fuzzers themselves: each kind of bug that they look for is one that they find."""

import os
import signal
from pathlib import Path

import fuzzing
import long_run
import numpy as np
import pytest
from fuzzing import Run, allowed_errors, check_counts, check_message, ds2, in_child, memory_limit, time_limit
from hypothesis import given
from hypothesis import strategies as st
from inputs import damaged

from ds2cli.cli import data as data_commands
from ds2cli.errors import DataError


def test_a_hang_is_found():
    with pytest.raises(AssertionError, match=r"not done after 0.05 s"), time_limit(0.05):
        while True:
            pass


def test_a_crash_and_an_exception_of_a_child_are_found():
    in_child(int, "1")
    with pytest.raises(AssertionError, match="ended by SIGKILL"):
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(AssertionError, match="ValueError: invalid literal"):
        in_child(int, "x")


def test_too_much_memory_is_found(monkeypatch):
    monkeypatch.setattr(fuzzing, "MEMORY", 1 << 28)
    with memory_limit(), pytest.raises(MemoryError):
        np.empty(1 << 34, np.uint8)


@pytest.mark.parametrize("message", ["", " ", "two\nlines", "x" * 401])
def test_a_message_that_is_not_one_line_is_found(message):
    with pytest.raises(AssertionError), allowed_errors():
        raise DataError(message)
    check_message("a.jsonl:3: the field 'id' is missing")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text('{"id": "b"}\n{"id": "a"}\n')
    return tmp_path


@pytest.mark.parametrize("error", [ValueError("a bug"), DataError("two\nlines" * 50), KeyError("a bug")])
def test_an_exception_of_a_command_is_found(here, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(data_commands.manifest_lines, "read", fail)
    with pytest.raises((AssertionError, ValueError, KeyError)):
        ds2("data", "stats", "in.jsonl")


@pytest.mark.parametrize(
    ("summary", "rows", "dropped"),
    [
        ("3 in = 2 kept + 0 dropped", "ab", 0),
        ("2 in = 2 kept + 0 dropped", "a", 0),
        ("2 in = 2 kept + 0 dropped", "ba", 0),
        ("3 in = 2 kept + 1 dropped (1 no-id)", "ab", 0),
        ("3 in = 2 kept + 0 dropped + 2 not selected (2 no-match)", "ab", 0),
    ],
)
def test_counts_that_do_not_add_up_are_found(here, summary, rows, dropped):
    Path("out.jsonl").write_text("".join(f'{{"id": "{name}"}}\n' for name in rows))
    with pytest.raises(AssertionError):
        check_counts(Run((), 0, "", f"sort: {summary}\n"), "out.jsonl")
    Path("out.jsonl").write_text('{"id": "a"}\n')
    check_counts(Run((), 0, "", "sort: 1 in = 1 kept + 0 dropped\n"), "out.jsonl", 1)
    with pytest.raises(AssertionError):
        check_counts(Run((), 0, "", "sort: 1 in = 1 kept + 0 dropped\n"), "out.jsonl", 2)


def test_an_output_that_should_not_be_there_and_one_that_is_cut_are_found(here):
    Path("out.jsonl").write_text('{"id": "a"}')
    for status in (0, 1):
        with pytest.raises(AssertionError):
            check_counts(Run((), status, "", "sort: 1 in = 1 kept + 0 dropped\n"), "out.jsonl")


def test_a_real_command_has_its_counts(here):
    run = ds2("data", "sort", "in.jsonl", "out.jsonl")
    check_counts(run, "out.jsonl", 2)
    Path(".17.part.out.jsonl").touch()
    with pytest.raises(AssertionError):
        ds2("data", "sort", "in.jsonl", "out.jsonl")


@given(st.data())
def test_damage_changes_bytes(data):
    assert isinstance(data.draw(damaged(b"RIFF 12\nabc\n" * 9)), bytes)
    assert data.draw(damaged(b"")) == b""


def test_the_failures_of_a_round_are_those_of_pytest():
    output = (
        "..F\nFAILED tests/fuzz/test_a.py::test_x[a b] - AssertionError: no\nERROR tests/fuzz/test_b.py\n1 failed\n"
    )
    assert long_run.find_failures(output, 1) == ["tests/fuzz/test_a.py::test_x[a b]", "tests/fuzz/test_b.py"]
    assert long_run.find_failures("Killed", 137) == ["pytest, exit status 137"]
    assert long_run.find_failures("5 passed", 0) == []
