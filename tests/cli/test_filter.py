"""The filter loop of the commands: when rows are written, and what becomes of dropped ones."""

import contextlib
import errno
import importlib
import io
import os
import sys
import threading
import tomllib

import numpy as np
import pytest
import typer

from ds2cli import __version__, manifest
from ds2cli.archive import ArkWriter, read_matrix
from ds2cli.cli.lib import filter as filter_module
from ds2cli.cli.lib.filter import filter_rows, writing
from ds2cli.cli.main import app
from ds2cli.config.base import StageConfig
from ds2cli.errors import DataError, Ds2Error, UsageError


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


FIRST_RUN = [{"id": i} for i in "ab"]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stop_with(error):
    def run(rows, ledger):
        yield from drop_all_but_a(rows, ledger)
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "error"),
    [(drop_all_but_a, Ds2Error), (stop_with(DataError("stopped")), DataError), (stop_with(OSError(5, "x")), Exception)],
)
def test_a_refused_run_leaves_the_files_of_the_run_before_it(tmp_path, jsonl, capsys, run, error):
    place = tmp_path / "place"
    out, refused = str(place / "out.jsonl"), place / "out.jsonl.refused.jsonl"
    source = jsonl(tmp_path / "in.jsonl", FIRST_RUN)
    filter_rows("test", StageConfig(), source, out, needs=("id",), run=drop_all_but_a)
    before = contents(place)
    assert before.keys() == {"out.jsonl", "out.jsonl.dropped.jsonl", "out.jsonl.config.toml"}
    source = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in "acdef"])
    with pytest.raises(error):
        filter_rows("test", StageConfig(), source, out, needs=("id",), run=run)
    assert f"see {refused}\n" in capsys.readouterr().err
    assert [row["id"] for row in jsonl(refused)] == list("cdef")
    assert {name: data for name, data in contents(place).items() if name != refused.name} == before
    filter_rows("test", StageConfig(max_bad=90), source, out, needs=("id",), run=drop_all_but_a)
    assert contents(place).keys() == before.keys() and len(jsonl(f"{out}.dropped.jsonl")) == 4


def test_a_first_run_that_is_refused_lists_what_it_dropped_as_any_other(tmp_path, jsonl):
    out = str(tmp_path / "place" / "out.jsonl")
    for _ in range(2):
        with pytest.raises(Ds2Error):
            source = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in "ac"])
            filter_rows("test", StageConfig(), source, out, needs=("id",), run=drop_all_but_a)
        assert contents(tmp_path / "place").keys() == {"out.jsonl.dropped.jsonl"}


@pytest.mark.parametrize("failing", ["out.jsonl", "out.jsonl.config.toml", "out.jsonl.dropped.jsonl"])
def test_rows_drops_and_settings_appear_together(tmp_path, jsonl, monkeypatch, failing):
    place = tmp_path / "place"
    out = str(place / "out.jsonl")
    for ids in ("ab", "abc"):
        source = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in ids])
        if ids == "ab":
            filter_rows("test", StageConfig(max_bad=99), source, out, needs=("id",), run=drop_all_but_a)
    before, fsync = contents(place), os.fsync

    def full(descriptor):
        if os.path.realpath(f"/proc/self/fd/{descriptor}").endswith(f".part.{failing}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=f"{failing}: cannot be written: no space left on device"):
        filter_rows("test", StageConfig(max_bad=99), source, out, needs=("id",), run=drop_all_but_a)
    after = contents(place)
    after.pop("out.jsonl.refused.jsonl")
    assert after == before


def test_an_archive_appears_with_the_rows_that_point_into_it(tmp_path, jsonl):
    place = tmp_path / "place"
    out = str(place / "out.jsonl")

    def run(rows, ledger):
        with ArkWriter(place / "out.ark") as ark:
            rows = [{**row, "feats": ark.write(row["id"], np.full((1, len(ids)), 1.0, np.float32))} for row in rows]
        yield from rows
        if len(ids) > 1:
            raise DataError("after the archive was complete")

    for ids in ("a", "ab"):
        source = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in ids])
        with contextlib.nullcontext() if ids == "a" else pytest.raises(DataError, match="complete"):
            filter_rows("test", StageConfig(), source, out, needs=("id",), run=run)
    (row,) = manifest.read(out)
    assert read_matrix(row["feats"], "a").shape == (1, 1)


def test_settings_without_counts_remove_the_list_of_an_earlier_run(tmp_path):
    out = tmp_path / "out"
    for stale in ("out.dropped.jsonl", "out.refused.jsonl"):
        (tmp_path / stale).write_text("{}\n")
    facts = {}
    with writing("test", StageConfig(), str(out), None, facts):
        out.write_text("x")
        facts["weights"] = 3
    assert contents(tmp_path).keys() == {"out", "out.config.toml"}
    assert tomllib.loads((tmp_path / "out.config.toml").read_text())["made_by"].keys() >= {"weights"}


def test_a_list_elsewhere_replaces_that_of_an_earlier_run(tmp_path, jsonl, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = jsonl("in.jsonl", [{"id": i} for i in "ab"])
    for dropped, listed in ((None, True), ("d.jsonl", False), ("./out.jsonl.dropped.jsonl", True)):
        config = StageConfig(dropped=dropped)
        filter_rows("test", config, source, "out.jsonl", needs=("id",), run=drop_all_but_a)
        assert (tmp_path / "out.jsonl.dropped.jsonl").exists() == listed


def test_a_reader_that_leaves_is_noted_with_the_list_of_drops(tmp_path, jsonl, monkeypatch, capsys):
    config = StageConfig(dropped=str(tmp_path / "d.jsonl"))
    source = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in "abc"])

    def lose_reader(*_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(manifest, "write", lose_reader)
    with pytest.raises(BrokenPipeError) as error:
        filter_rows("test", config, source, "-", needs=("id",), run=drop_all_but_a)
    assert error.value.__notes__ == [config.dropped] and not (tmp_path / "d.jsonl").exists()
    assert capsys.readouterr().err == ""


def test_nothing_is_written_next_to_a_named_pipe(tmp_path, jsonl):
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    source = jsonl(tmp_path / "in.jsonl", [{"id": i} for i in "ab"])
    filter_rows("test", StageConfig(), source, str(fifo), needs=("id",), run=drop_all_but_a)
    reader.join(10)
    assert read == ['{"id":"a"}\n'] and {path.name for path in tmp_path.iterdir()} == {"fifo", "in.jsonl"}


def test_a_list_of_drops_that_was_requested_is_written_even_if_empty(tmp_path, jsonl):
    config = StageConfig(dropped=str(tmp_path / "drops.jsonl"))
    filter_rows("test", config, jsonl(tmp_path / "in.jsonl", [{"id": "a"}]), "-", needs=("id",), run=drop_all_but_a)
    assert (tmp_path / "drops.jsonl").read_text() == ""


@pytest.mark.parametrize("name", ["in.jsonl", "./out.jsonl"])
def test_a_list_of_drops_replaces_neither_the_input_nor_the_result(tmp_path, jsonl, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    source, config = jsonl("in.jsonl", [{"id": "a"}]), StageConfig(dropped=name)
    with pytest.raises(UsageError, match=f"--dropped {name}: the list would replace"):
        filter_rows("test", config, source, "out.jsonl", needs=("id",), run=drop_all_but_a)
    assert jsonl("in.jsonl") == [{"id": "a"}] and not (tmp_path / "out.jsonl").exists()


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


def exclude_all(rows, ledger):
    for row in rows:
        ledger.drop(row["id"], "too-short", bad=False)
    yield from ()


@pytest.mark.parametrize(
    "rows, error, message",
    [
        ([], DataError, r"in\.jsonl: no utterances, expected"),
        (["a", "b"], Ds2Error, "x: refused: none of 2 utterances"),
    ],
)
def test_a_result_without_rows_is_refused(tmp_path, jsonl, rows, error, message):
    source = jsonl(tmp_path / "in.jsonl", [{"id": name} for name in rows])
    (tmp_path / "out.jsonl").write_text("earlier\n")
    options = {"needs": ("id",), "run": exclude_all}
    for is_choice, max_bad in ((False, 1.0), (False, 99.9), (True, 1.0), (True, 100.0)):
        with pytest.raises(error, match=message):
            out = str(tmp_path / "out.jsonl")
            filter_rows("x", StageConfig(max_bad=max_bad), source, out, is_choice=is_choice, **options)
        assert (tmp_path / "out.jsonl").read_text() == "earlier\n"
    ledger = filter_rows("x", StageConfig(max_bad=100.0), source, str(tmp_path / "out.jsonl"), **options)
    assert (ledger.dropped, (tmp_path / "out.jsonl").read_text()) == (len(rows), ""), "a part of a parallel job"


def test_why_no_row_was_chosen_is_reported(tmp_path, jsonl, capsys):
    def choose(rows, ledger):
        ledger.unselected["no-match"] = sum(1 for _ in rows)
        ledger.notes.append("no such speaker")
        yield from ()

    source = jsonl(tmp_path / "in.jsonl", [{"id": "a"}])
    with pytest.raises(Ds2Error, match=r"^x: refused: none of 1 utterances is kept"):
        filter_rows("x", StageConfig(), source, "-", needs=("id",), run=choose, is_choice=True)
    assert capsys.readouterr().err.splitlines() == [
        "x: 1 in = 0 kept + 0 dropped + 1 not selected (1 no-match)",
        "x: no such speaker",
    ]
