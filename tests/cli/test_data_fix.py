"""`ds2 data fix`: in place with a backup, a diff, a dry run."""

import json
import re
import sys

import pytest

from ds2cli import ui

LINES = '{"id":"b","text":"Hello!"}\n{"id":"a","text":"x"}\n{"id":"c","text":"5"}\nno row\n{"id":"d","text":"fine"}\n'
FIXED = [{"id": "a", "text": "x"}, {"id": "b", "text": "hello"}, {"id": "d", "text": "fine"}]
COUNTS = "fix: 5 in = 3 kept + 2 dropped (1 digits, 1 not-json)"
OPTIONS = ("--max-bad", 50)


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "in.jsonl").write_text(LINES)
    return tmp_path


@pytest.mark.parametrize("out", ["--in-place", "in.jsonl", "./in.jsonl"])
def test_a_manifest_that_is_replaced_has_a_backup_that_no_other_replaces(ds2, jsonl, rows, out):
    for number, suffix in enumerate(("", ".1", ".2")):
        before = (rows / "in.jsonl").read_text()
        done = ds2("data", "fix", "in.jsonl", out, *OPTIONS, cwd=rows)
        assert done.returncode == 0 and f"original in.jsonl is kept as in.jsonl.backup{suffix}\n" in done.stderr
        assert (COUNTS in done.stderr) == (number == 0)
        assert (rows / f"in.jsonl.backup{suffix}").read_text() == before
    assert jsonl(rows / "in.jsonl") == FIXED and (rows / "in.jsonl.backup").read_text() == LINES


def test_a_refused_repair_leaves_the_manifest_without_a_backup(ds2, rows):
    done = ds2("data", "fix", "in.jsonl", "--in-place", cwd=rows)
    assert done.returncode == 1 and "refused: 2 of 5 utterances are bad" in done.stderr
    assert (rows / "in.jsonl").read_text() == LINES
    assert sorted(path.name for path in rows.iterdir()) == ["in.jsonl", "in.jsonl.refused.jsonl"]


def test_the_diff_shows_what_becomes_of_each_row(ds2, rows):
    done = ds2("data", "fix", "in.jsonl", "out.jsonl", "--diff", *OPTIONS, cwd=rows)
    assert done.returncode == 0 and (rows / "out.jsonl").exists()
    lines = done.stdout.splitlines()
    assert lines[:2] == ["--- in.jsonl", "+++ out.jsonl"]
    assert {line for line in lines[2:] if not line.startswith("@@")} == {
        '-{"id":"b","text":"Hello!"}',
        '+{"id":"b","text":"hello"}',
        '-{"id":"c","text":"5"}',
        "-no row",
    } | ({'-{"id":"a","text":"x"}', '+{"id":"a","text":"x"}'} & set(lines))
    assert apply(LINES.splitlines(), lines) == [json.dumps(row, separators=(",", ":")) for row in FIXED]


def apply(old, diff):
    """The new lines that a unified diff without context makes of the old ones."""
    new, position = [], 0
    for line in diff[2:]:
        if match := re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@", line):
            begin = int(match[1]) - (match[2] != "0")
            new += old[position:begin]
            position = begin
        elif line.startswith("-"):
            assert old[position] == line[1:]
            position += 1
        else:
            assert line.startswith("+")
            new.append(line[1:])
    return new + old[position:]


def test_a_diff_is_colored_on_a_terminal_only(capsys, monkeypatch):
    lines = ("--- a", "+++ b", "@@ -1 +1 @@", '-{"id":"a\x1b"}', "+b")
    for line in lines:
        ui.echo_diff(line)
    assert capsys.readouterr().out.splitlines() == ["--- a", "+++ b", "@@ -1 +1 @@", '-{"id":"a\\x1b"}', "+b"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    ui.echo_diff("-a")
    ui.echo_diff("+b")
    assert capsys.readouterr().out == "\x1b[31m-a\x1b[0m\n\x1b[32m+b\x1b[0m\n"


def test_a_dry_run_writes_nothing(ds2, rows):
    done = ds2("data", "fix", "in.jsonl", "--dry-run", "--diff", "--in-place", *OPTIONS, cwd=rows)
    assert done.returncode == 0 and COUNTS in done.stderr and done.stdout.startswith("--- in.jsonl\n")
    assert [path.name for path in rows.iterdir()] == ["in.jsonl"]
    assert ds2("data", "fix", "in.jsonl", "--dry-run", cwd=rows).returncode == 1
    assert [path.name for path in rows.iterdir()] == ["in.jsonl"]


def test_a_healthy_manifest_has_no_diff(ds2, rows):
    (rows / "good.jsonl").write_text('{"id": "a", "text": "x"}\n\n{"id": "b", "text": "y"}\n')
    done = ds2("data", "fix", "good.jsonl", "--dry-run", "--diff", cwd=rows)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "fix: 2 in = 2 kept + 0 dropped\n")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("in.jsonl", "out.jsonl", "--in-place"), "--in-place replaces in.jsonl: expected no OUT, got out.jsonl"),
        (("-", "--in-place"), "--in-place: IN is a pipe, expected the name of a file"),
        (("-", "out.jsonl", "--diff"), "--diff: IN is a pipe"),
        (("in.jsonl", "--diff"), "--diff prints to standard output: name OUT, or add --in-place or --dry-run"),
        (("in.jsonl", "o.jsonl", "--nj", "2"), "--nj has no effect with --audio exists"),
    ],
)
def test_options_that_contradict_each_other_are_usage_errors(ds2, rows, arguments, message):
    done = ds2("data", "fix", *arguments, cwd=rows, stdin="")
    assert done.returncode == 2 and message in done.stderr
    assert [path.name for path in rows.iterdir()] == ["in.jsonl"]
