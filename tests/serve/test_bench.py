"""`ds2 bench serve`: what it measures of a real server, and that overload is refused without hurting those inside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import wave

import pytest

from ds2cli.config.base import build
from ds2cli.config.bench import BenchServeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import bench_plots, bench_serve
from ds2cli.stages.bench_server import compare_metrics
from ds2cli.stages.bench_tally import Tally
from tests.serve.conftest import running_server, speech


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder with three recordings of a second or two."""
    folder = tmp_path_factory.mktemp("recordings")
    for i, seconds in enumerate((1.0, 1.5, 2.0)):
        with wave.open(str(folder / f"{i}.wav"), "wb") as f:
            f.setnchannels(1)
            f.setsampwidth(2)
            f.setframerate(16000)
            f.writeframes(speech(seconds, i).tobytes())
    return str(folder)


def measure(target, recordings, **settings):
    """The measurements of a run."""
    config = build(BenchServeConfig, ("test", {"min_length": 0.0, "seconds": 1.5, **settings}))
    events = list(bench_serve.run(config, target, [recordings], Ledger(), threading.Event()))
    progress = [event for event in events if isinstance(event, bench_serve.Progress)]
    assert progress and progress[-1].done_s == pytest.approx(config.seconds, abs=0.5)
    return [event for event in events if not isinstance(event, bench_serve.Progress)]


def test_streams_in_real_time(server, recordings):
    (row,) = measure(server.ws, recordings, streams="6", seconds=3.0)
    assert row["kind"] == "real time" and row["streams"] == 6 and row["max_batch"] is None
    assert row["ended"] >= 4 and row["refused"] == row["closed"] == {} and row["different_texts"] == 0
    assert 0 < row["final_ms"]["median"] <= row["final_ms"]["p98"] <= row["final_ms"]["max"] < 3000
    assert row["partial_lag_ms"]["median"] > 0 and row["first_partial_ms"] and row["late_ms"]
    # as much as six speak
    assert row["x_real_time"] == pytest.approx(6, rel=0.3)
    assert sum(row["batches"].values()) == pytest.approx(1, abs=0.01) and row["mean_batch"] >= 1
    assert row["server_cpu_s"] > 0 and row["streams_per_core"] > 6 and row["generator_cpu_s"] > 0


def test_streams_that_do_not_wait(server, recordings):
    (row,) = measure(server.http, recordings, streams="4", fast=True)
    assert row["kind"] == "fast" and row["x_real_time"] > 8 and row["late_ms"] is None
    assert row["different_texts"] == 0 and row["closed"] == {}


def test_uploads(server, recordings):
    (row,) = measure(server.http, recordings, requests=2)
    assert row["kind"] == "uploads" and row["streams"] == 2 and row["ended"] >= 2 and row["final_ms"]
    assert row["refused"] == row["closed"] == {} and row["different_texts"] == 0


@pytest.mark.long
def test_twice_as_many_streams_as_are_accepted(exp, recordings):
    with running_server(exp, "--max-streams", "4") as server:
        within, beyond = measure(server.http, recordings, streams="4,8", seconds=3.0)
        assert server.metric("ds2_streams_limit") == 4
    assert within["refused"] == {} and within["ended"] >= 4
    # refused in words (1013), and never a broken connection (1011)
    assert set(beyond["refused"]) == {"overloaded"} and beyond["refused"]["overloaded"] >= 1 and beyond["closed"] == {}
    assert beyond["ended"] >= 4 and beyond["different_texts"] == 0
    assert beyond["final_ms"]["median"] < max(10 * within["final_ms"]["median"], 500)


@pytest.mark.long
def test_servers_are_started_for_a_network(exp, recordings, tmp_path):
    settings = tmp_path / "server.toml"
    settings.write_text("endpoint_silence = 0.4\n")
    rows = measure(str(exp), recordings, streams="3", max_batch="1,8", seconds=1.0, server_config=str(settings))
    assert [row["max_batch"] for row in rows] == [1, 8]
    assert rows[0]["mean_batch"] == 1 and all(row["ended"] and not row["closed"] for row in rows)
    settings.write_text("endpoint = 0.4\n")
    with pytest.raises(UsageError, match=r"ds2 serve exited: .*unknown setting 'endpoint'"):
        measure(str(exp), recordings, server_config=str(settings))


def test_a_token_is_sent(exp, recordings, tmp_path):
    token = tmp_path / "token"
    token.write_text("a-token-of-some-length\n")
    with running_server(exp, "--token-file", str(token)) as server:
        with pytest.raises(DataError, match="--token-file"):
            measure(server.http, recordings, streams="1")
        (row,) = measure(server.http, recordings, streams="1", token_file=str(token), seconds=2.5)
        assert row["ended"] and not row["refused"]


@pytest.mark.long
def test_interrupted_it_prints_what_was_measured(server, recordings):
    command = [sys.executable, "-m", "ds2cli", "bench", "serve", server.http, recordings]
    options = ["--min-length", "0", "--streams", "2", "--seconds", "5", "--json"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not server.metric("ds2_streams") and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    out, log = process.communicate(timeout=20)
    assert process.returncode == 130, log
    row = json.loads(out)
    assert row["ended"] >= 1 and row["seconds"] < 4.5


def test_without_a_server_it_says_so(recordings):
    with pytest.raises(DataError, match="no server answers"):
        measure("http://127.0.0.1:9", recordings)


@pytest.mark.parametrize("text", ["", "0", "a", "1,,2", "1.5", "10001"])
def test_numbers(text):
    assert bench_serve.parse_numbers("10, 20", "--streams") == [10, 20]
    with pytest.raises(UsageError, match="--streams"):
        bench_serve.parse_numbers(text, "--streams")


def test_recordings_are_joined_and_bad_ones_left_out(recordings, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    ledger = Ledger()
    clips = bench_serve.read_clips([recordings, str(tmp_path / "bad.wav")], 16000, 2.5, ledger)
    # 1 s, a pause, 1.5 s; what is left is too short
    assert [clip.duration_s for clip in clips] == [3.0] and ledger.dropped == 1
    assert [clip.duration_s for clip in bench_serve.read_clips([recordings], 8000, 0, ledger)] == [1, 1.5, 2]
    assert len(bench_serve.read_clips([recordings], 16000, 60, ledger)) == 1
    with pytest.raises(DataError, match="no recordings"):
        bench_serve.read_clips([str(tmp_path / "bad.wav")], 16000, 0, ledger)


def test_texts_unlike_others_of_the_same_recording_are_counted():
    tally = Tally()
    for name, text in [("a", "x"), ("a", "x"), ("a", "y"), ("b", "z"), ("a", "x")]:
        tally.end(name, text, 0.01, 1.0)
    assert tally.different_texts == 1 and tally.audio_s == 5
    assert tally.summarize()["final_ms"] == {"median": 10.0, "p95": 10.0, "p98": 10.0, "max": 10.0}


def test_the_share_of_each_batch_size():
    bucket = 'ds2_batch_streams_bucket{le="%d.0"}'
    before = {"ds2_batch_streams_count": 5.0, "ds2_batch_streams_sum": 5.0, **{bucket % n: 5.0 for n in range(1, 11)}}
    # four batches of 1, three of 2, one of 20
    added = {1: 4, **dict.fromkeys(range(2, 11), 7)}
    after = {"ds2_batch_streams_count": 13.0, "ds2_batch_streams_sum": 35.0}
    found = compare_metrics(before, {**after, **{bucket % n: 5.0 + c for n, c in added.items()}}, 2.0)
    assert found["mean_batch"] == 3.75
    assert found["batches"] == {
        "1": 0.1333, "2": 0.2, **{str(n): 0.0 for n in range(3, 11)}, "more": 0.6667
    }  # fmt: skip


def test_the_figures(tmp_path):
    pytest.importorskip("matplotlib")
    batches = {**{str(n): 0.08 for n in range(1, 11)}, "more": 0.2}
    rows = [
        {"streams": n, "max_batch": m, "batches": batches, "final_ms": {"median": 10.0 * n, "p98": 20.0 * n}}
        for m in (1, 32)
        for n in (10, 20)
    ]
    bench_plots.draw(str(tmp_path / "load.png"), [*rows, {**rows[0], "final_ms": None, "batches": {}}])
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_for_the_figures_is_refused_before_the_run(ds2, tmp_path):
    pytest.importorskip("matplotlib")
    result = ds2("bench", "serve", "http://127.0.0.1:1", str(tmp_path), "--plot", str(tmp_path))
    assert result.returncode == 2 and "this is a folder, expected a file name" in result.stderr
