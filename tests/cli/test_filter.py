"""The filter loop of the commands: when rows are written, and what becomes of dropped ones."""

import pytest

from ds2cli import manifest
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.config.base import StageConfig
from ds2cli.errors import Ds2Error


@pytest.fixture
def events(monkeypatch):
    """What happened in order: `run` a row was computed, `write` it was written."""
    events = []

    def write(out, rows):
        events.extend(("write", row["id"]) for row in rows)

    monkeypatch.setattr(manifest, "write", write)
    return events


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
