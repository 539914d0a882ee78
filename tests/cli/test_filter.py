"""The filter loop of the commands: when rows are written, and what becomes of dropped ones."""

import contextlib
import importlib
import io
import sys
import tomllib

import pytest
import typer

from ds2cli import __version__, manifest
from ds2cli.cli.lib import filter as filter_module
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.main import app
from ds2cli.config.base import StageConfig
from ds2cli.errors import DataError, Ds2Error


@pytest.fixture
def events(monkeypatch):
    """What happened in order: `run` a row was computed, `write` it was written."""
    events = []

    def write(out, rows):
        events.extend(("write", row["id"]) for row in rows)

    monkeypatch.setattr(manifest, "write", write)
    return events


@pytest.mark.parametrize(("copies", "total"), [(1, 2), (3, 6)])
def test_the_progress_counts_the_copies_of_a_row(tmp_path, monkeypatch, jsonl, copies, total):
    totals = []
    monkeypatch.setattr("ds2cli.ui.progress", lambda rows, _label, count: totals.append(count) or rows)
    source = jsonl(tmp_path / "in.jsonl", [{"id": "a"}, {"id": "b"}])
    filter_rows(
        "x", StageConfig(), source, str(tmp_path / "out"), needs=("id",), run=lambda rows, _: rows, copies=copies
    )
    assert totals == [total]


@pytest.mark.parametrize(
    "out, buffer_pipe, order", [("-", True, "rrww"), ("-", False, "rwrw"), ("out.jsonl", True, "rwrw")]
)
def test_buffered_pipe_is_written_after_the_last_row(tmp_path, monkeypatch, jsonl, events, out, buffer_pipe, order):
    monkeypatch.chdir(tmp_path)
    source = jsonl("in.jsonl", [{"id": "a"}, {"id": "b"}])

    def run(rows, ledger):
        for row in rows:
            events.append(("run", row["id"]))
            yield row

    filter_rows("test", StageConfig(), source, out, needs=("id",), run=run, buffer_pipe=buffer_pipe)
    assert "".join(event[0] for event, _ in events) == order


@pytest.mark.parametrize("buffer_pipe", [True, False])
def test_stage_that_fails_in_a_pipe_reports_its_drops(tmp_path, jsonl, capsys, buffer_pipe):
    source = jsonl(tmp_path / "in.jsonl", [{"id": "a"}])

    def run(rows, ledger):
        for row in rows:
            ledger.drop(row["id"], "broken", "no samples")
        raise Ds2Error("stopped")
        yield

    with pytest.raises(Ds2Error, match="stopped"):
        filter_rows("test", StageConfig(), source, "-", needs=("id",), run=run, buffer_pipe=buffer_pipe)
    assert "test: dropped a: broken: no samples" in capsys.readouterr().err


def drop_all_but_a(rows, ledger):
    for row in rows:
        if row["id"] == "a":
            yield row
        else:
            ledger.drop(row["id"], "excluded" if row["id"] == "b" else "broken", bad=row["id"] != "b")


def test_every_drop_is_counted_in_the_settings_and_listed(tmp_path, jsonl, capsys):
    source, out = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in "abc"]), str(tmp_path / "out.jsonl")
    config = StageConfig(max_bad=50)
    ledger = filter_rows("test", config, source, out, needs=("id",), run=drop_all_but_a)
    made_by = tomllib.loads((tmp_path / "out.jsonl.config.toml").read_text())["made_by"]
    assert (made_by["kept"], made_by["dropped"]) == (ledger.kept, ledger.dropped) == (1, 2)
    listed = jsonl(tmp_path / "out.jsonl.dropped.jsonl")
    assert [(row["id"], row["reason"], row["bad"]) for row in listed] == [
        ("b", "excluded", False),
        ("c", "broken", True),
    ]
    summary = "test: 3 in = 1 kept + 2 dropped (1 broken, 1 excluded)"
    assert capsys.readouterr().err == f"{summary}, see {out}.dropped.jsonl\n"


@pytest.mark.parametrize("max_bad, allowed", [(50, True), (49.9, False)])
def test_max_bad_is_a_percentage_of_the_rows_that_no_rule_excludes(tmp_path, jsonl, max_bad, allowed):
    source, out = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in "abc"]), tmp_path / "out.jsonl"
    with contextlib.nullcontext() if allowed else pytest.raises(Ds2Error, match="1 of 2 utterances are bad"):
        filter_rows("test", StageConfig(max_bad=max_bad), source, str(out), needs=("id",), run=drop_all_but_a)
    assert out.exists() == allowed and len(jsonl(f"{out}.dropped.jsonl")) == 2


def test_a_run_without_drops_removes_the_list_of_an_earlier_run(tmp_path, jsonl):
    out = str(tmp_path / "out.jsonl")
    for ids, listed in (("abc", True), ("a", False)):
        source = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in ids])
        filter_rows("test", StageConfig(max_bad=100), source, out, needs=("id",), run=drop_all_but_a)
        assert (tmp_path / "out.jsonl.dropped.jsonl").exists() == listed


def test_a_list_of_drops_that_was_requested_is_written_even_if_empty(tmp_path, jsonl):
    config = StageConfig(dropped=str(tmp_path / "drops.jsonl"))
    filter_rows("test", config, jsonl(tmp_path / "in.jsonl", [{"id": "a"}]), "-", needs=("id",), run=drop_all_but_a)
    assert (tmp_path / "drops.jsonl").read_text() == ""


@pytest.mark.parametrize("count", [19, 20, 21, 22])
def test_a_pipe_lists_the_first_20_bad_rows(tmp_path, jsonl, capsys, count):
    def drop_all(rows, ledger):
        for row in rows:
            ledger.drop(row["id"], "broken")
        return iter(())

    source = jsonl(tmp_path / "in.jsonl", [{"id": f"u{i:02}"} for i in range(count)])
    with pytest.raises(Ds2Error, match="refused"):
        filter_rows("test", StageConfig(), source, "-", needs=("id",), run=drop_all)
    lines = capsys.readouterr().err.splitlines()
    assert sum("dropped u" in line for line in lines) == min(count, 20)
    assert [line for line in lines if "more" in line] == [
        f"test: … and {count - 20} more (--dropped FILE lists all of them)"
    ] * (count > 20)


def test_a_pipe_does_not_list_rows_that_a_rule_excludes(tmp_path, jsonl, capsys):
    source = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in "abc"])
    filter_rows("test", StageConfig(max_bad=50), source, "-", needs=("id",), run=drop_all_but_a)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["test: 3 in = 1 kept + 2 dropped (1 broken, 1 excluded)", "test: dropped c: broken: "]


def test_the_settings_record_the_command_and_the_version(tmp_path, jsonl, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/ds2", "test", "a b"])
    out = str(tmp_path / "out.jsonl")
    source = jsonl(tmp_path / "in.jsonl", [{"id": "a"}])
    filter_rows("test", StageConfig(), source, out, needs=("id",), run=drop_all_but_a, facts={"made_on": "x"})
    made_by = tomllib.loads((tmp_path / "out.jsonl.config.toml").read_text())["made_by"]
    assert made_by == {
        "ds2cli": __version__, "command": "ds2 test 'a b'", "made_on": "x", "kept": 1, "dropped": 0,
    }  # fmt: skip


def test_nothing_is_written_next_to_a_device(tmp_path, jsonl, events, monkeypatch):
    opened = []
    monkeypatch.setattr(
        filter_module, "open_out", lambda path: opened.append(path) or contextlib.nullcontext(io.StringIO())
    )
    source = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in "abc"])
    filter_rows("test", StageConfig(max_bad=50), source, "/dev/null", needs=("id",), run=drop_all_but_a)
    assert events == [("write", "a")] and opened == []


def test_a_stage_ends_when_its_rows_cannot_be_written(tmp_path, jsonl):
    ended = []

    def run(rows, ledger):
        try:
            for name in "ba":
                yield {"id": name}
        finally:
            ended.append(True)

    source = jsonl(tmp_path / "in.jsonl", [])
    # the error keeps the functions that it passed through alive
    with pytest.raises(DataError, match="comes after") as error:
        filter_rows("test", StageConfig(), source, str(tmp_path / "out.jsonl"), needs=("id",), run=run)
    assert error and ended == [True]


@pytest.mark.parametrize("stage", ["emit", "featurize"])
def test_rows_that_point_into_an_archive_reach_a_pipe_after_the_last_one(tmp_path, jsonl, monkeypatch, capsys, stage):
    printed = []

    def run(*_):
        for name in "ab":
            yield {"id": name}
            printed.append(capsys.readouterr().out)

    monkeypatch.setattr(importlib.import_module(f"ds2cli.stages.{stage}"), "run", run)
    arguments = [*(["exp"] if stage == "emit" else []), jsonl(tmp_path / "in.jsonl", []), "-", "--dir", "x"]
    typer.main.get_command(app).main([stage, *arguments], standalone_mode=False)
    assert printed == ["", ""]
    assert capsys.readouterr().out == '{"id":"a"}\n{"id":"b"}\n'
