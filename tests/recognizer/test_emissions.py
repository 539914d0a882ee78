"""Loading and computing emissions in the background, in order, with bounded memory."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from ds2cli.archive import ArkWriter
from ds2cli.config.model import ModelConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, Ds2Error
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.infer import compute_emissions
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.emissions import CHUNK, load_chunks, load_emissions, map_emissions, split_chunks
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.resumed import list_rows, process_chunks
from ds2cli.runtime.file import BEST
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "é"))
CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)


@pytest.fixture
def exp(tmp_path):
    torch.manual_seed(0)
    data = dump_model(DeepSpeech2(CONFIG, 4, 5).state_dict(), CONFIG, VOCAB, {"hop_ms": 10.0}, {})
    (tmp_path / BEST).write_bytes(data)
    return tmp_path


def features(count, frames=20):
    rng = np.random.default_rng(0)
    rows = [{"id": f"u{i:03d}", "num_frames": frames} for i in range(count)]
    arrays = {row["id"]: rng.normal(size=(frames, 5)).astype(np.float32) for row in rows}
    return rows, lambda row, _: arrays[row["id"]]


def test_chunks_begin_small_and_stay_bounded():
    sizes = [len(c) for c in split_chunks({"id": str(i)} for i in range(300))]
    assert sizes == [8, 16, 32, 64, 64, 64, 52]
    sizes = [len(c) for c in split_chunks({"id": str(i), "num_frames": 9000} for i in range(7))]
    assert sizes == [3, 3, 1]
    sizes = [len(c) for c in split_chunks({"id": str(i), "num_frames": 10000} for i in range(5))]
    assert sizes == [2, 2, 1]
    assert list(split_chunks([])) == []


def test_computed_emissions_equal_those_of_a_single_pass_in_order(exp):
    rows, read = features(150)
    experiment = Experiment(str(exp))
    items = [item for chunk in load_emissions(rows, Ledger(), experiment, features=read) for item in chunk]
    assert [item.row["id"] for item in items] == [row["id"] for row in rows]
    expected_emissions = compute_emissions(experiment.trained, [read(row, experiment) for row in rows])
    assert all(np.allclose(item.log_probs, x, atol=1e-5) for item, x in zip(items, expected_emissions, strict=True))
    assert items[0].step_s == 0.02


def test_the_network_and_the_search_work_at_the_same_time(exp):
    """Each waits until the other has started: run one after the other, they would time out."""
    rows, read = features(3 * CHUNK)
    network_started, search_started = threading.Event(), threading.Event()

    def computing(row, experiment):
        if row["id"] == "u008":
            # the first row of the second chunk
            network_started.set()
            assert search_started.wait(20)
        return read(row, experiment)

    def searching(item):
        search_started.set()
        assert network_started.wait(20)
        return item.row["id"]

    chunks = load_emissions(rows, Ledger(), Experiment(str(exp)), features=computing)
    assert list(map_emissions(searching, chunks, Ledger(), 1)) == [row["id"] for row in rows]


@pytest.mark.long
def test_the_network_is_at_most_one_chunk_ahead(exp):
    rows, read = features(4 * CHUNK)
    computed = []

    def computing(row, experiment):
        computed.append(row["id"])
        return read(row, experiment)

    chunks = load_emissions(rows, Ledger(), Experiment(str(exp)), features=computing)
    taken = 0
    for chunk in chunks:
        taken += len(chunk)
        time.sleep(0.2)
        assert taken <= len(computed) <= taken + CHUNK
    assert taken == len(rows)


def test_errors_of_the_background_thread_are_raised(exp):
    rows, read = features(40)

    def broken(row, experiment):
        if row["id"] == "u020":
            raise ZeroDivisionError(row["id"])
        return read(row, experiment)

    emitted = []
    with pytest.raises(ZeroDivisionError, match="u020"):
        for chunk in load_emissions(rows, Ledger(), Experiment(str(exp)), features=broken):
            emitted += chunk
    assert len(emitted) == 8
    with pytest.raises(DataError, match="no trained network"):
        list(load_emissions(rows[:1], Ledger(), Experiment(str(exp / "none")), features=read))


def test_the_ledger_is_written_in_the_callers_thread(exp):
    rows, read = features(40)
    caller = threading.get_ident()

    class CheckedLedger(Ledger):
        def drop(self, *args, **kwargs):
            assert threading.get_ident() == caller
            super().drop(*args, **kwargs)

    def read_some(row, experiment):
        if int(row["id"][1:]) % 9 == 0:
            raise BadUtterance("too-short", row["id"])
        return read(row, experiment)

    def search_some(item):
        if int(item.row["id"][1:]) % 10 == 1:
            raise BadUtterance("impossible-text", item.row["id"])
        return item.row["id"]

    ledger = CheckedLedger()
    chunks = load_emissions(rows, ledger, Experiment(str(exp)), features=read_some)
    kept = list(map_emissions(search_some, chunks, ledger, 3))
    assert kept == [f"u{i:03d}" for i in range(40) if i % 9 and i % 10 != 1]
    assert ledger.reasons == {"too-short": 5, "impossible-text": 4}
    assert {row["id"] for row in ledger.rows} == {f"u{i:03d}" for i in (0, 9, 18, 27, 36, 1, 11, 21, 31)}
    assert ledger.bad == 9


@pytest.mark.parametrize("ended_by", ["close", "search", "rows"])
def test_no_thread_continues_after_the_end(exp, ended_by):
    rows, read = features(6 * CHUNK)
    computed = []

    def computing(row, experiment):
        computed.append(row["id"])
        time.sleep(0.005)
        return read(row, experiment)

    def searching(item):
        if ended_by == "search" and item.row["id"] == "u010":
            raise KeyboardInterrupt
        return item.row["id"]

    def input_rows():
        yield from rows[:40]
        if ended_by == "rows":
            raise KeyboardInterrupt
        yield from rows[40:]

    results = map_emissions(
        searching, load_emissions(input_rows(), Ledger(), Experiment(str(exp)), features=computing), Ledger(), 2
    )
    if ended_by == "close":
        next(results)
        results.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            list(results)
    stopped = len(computed)
    assert stopped < 3 * CHUNK
    time.sleep(0.1)
    assert len(computed) == stopped
    assert not [t for t in threading.enumerate() if t.name.startswith(("network", "search"))]


def test_the_step_of_a_row_comes_before_that_of_the_network(exp):
    log_probs = np.log(np.full((3, 4), 0.25, np.float32))
    with ArkWriter(exp / "e.ark") as ark:
        rows = [{"id": name, "emission": ark.write(name, log_probs)} for name in ("a", "b")]
    rows[0]["step_s"] = 0.05
    for needed, expected in ((True, [0.05, 0.02]), (False, [0.05, 0.0])):
        (items,) = load_emissions(rows, Ledger(), Experiment(str(exp)), needed)
        assert [item.step_s for item in items] == expected


def test_rows_with_emissions_fill_a_chunk_by_their_steps():
    rows = [{"id": str(i), "num_steps": 15000} for i in range(5)]
    assert [len(c) for c in split_chunks(rows)] == [2, 2, 1]


@pytest.mark.parametrize("field, width", [("emission", 4), ("feats", 5)])
def test_an_emission_or_features_of_another_utterance_are_not_used(exp, field, width):
    array = np.log(np.full((20, width), 0.25, np.float32))
    with ArkWriter(exp / "e.ark") as ark:
        rows = [{"id": name, field: ark.write(name, array), "step_s": 0.02} for name in ("a", "b")]
    # the archive was written again since this row: another utterance is now at its byte
    rows[1][field] = rows[0][field]
    ledger = Ledger()
    (items,) = load_emissions(rows, ledger, Experiment(str(exp)))
    assert [item.row["id"] for item in items] == ["a"]
    assert [(row["id"], row["reason"]) for row in ledger.rows] == [("b", "stale-archive")]


def test_an_archive_gets_only_the_emissions_that_were_computed(exp):
    with ArkWriter(exp / "old.ark") as ark:
        emission = ark.write("a", np.log(np.full((3, 4), 0.25, np.float32)))
        rows = [{"id": "a", "emission": emission}, {"id": "b", "feats": ark.write("b", np.zeros((20, 5), np.float32))}]
    new, ledger, experiment = str(exp / "new.ark"), Ledger(), Experiment(str(exp))
    first, second = process_chunks(
        rows, lambda c: load_chunks(c, ledger, experiment), list_rows, ledger, stage="x", max_bad=0.0, ark=new
    )
    assert first == rows[0]
    assert second == {**rows[1], "emission": second["emission"], "num_steps": 10, "step_s": 0.02}
    assert second["emission"].startswith(f"{new}:") and (exp / "new.ark").read_bytes().startswith(b"b ")


def test_an_emission_that_is_not_a_number_costs_one_utterance(exp):
    rows, read = features(3)
    ledger, experiment = Ledger(), Experiment(str(exp))

    def broken(row, experiment):
        return read(row, experiment) * (np.float32("nan") if row["id"] == "u001" else 1)

    (items,) = load_emissions(rows, ledger, experiment, features=broken)
    assert [item.row["id"] for item in items] == ["u000", "u002"]
    assert [(row["id"], row["reason"]) for row in ledger.rows] == [("u001", "not-a-number")]


def test_what_memory_does_not_hold_is_dropped_and_the_rest_is_the_same(exp):
    """Recordings that cannot be read, or whose features are too large, and an emission that cannot be searched."""
    rows, read = features(40)
    experiment = Experiment(str(exp))
    lacking = {"u005": "read", "u017": "features", "u030": "search"}

    def limited(row, experiment):
        if lacking.get(row["id"]) == "read":
            raise MemoryError
        return np.zeros((1 << 40, 5), np.float32) if lacking.get(row["id"]) == "features" else read(row, experiment)

    def search(item):
        if lacking.get(item.row["id"]) == "search":
            return np.zeros(1 << 56)
        return item.row["id"], item.log_probs.tobytes()

    ledger = Ledger()
    found = list(map_emissions(search, load_emissions(rows, ledger, experiment, features=limited), ledger, 2))
    others = [row for row in rows if row["id"] not in lacking]
    expected = load_emissions(others, Ledger(), experiment, features=read)
    assert [name for name, _ in found] == [row["id"] for row in others]
    assert found == [(item.row["id"], item.log_probs.tobytes()) for chunk in expected for item in chunk]
    assert {row["id"]: row["reason"] for row in ledger.rows} == dict.fromkeys(lacking, "out-of-memory")
    details = {row["id"]: row["detail"] for row in ledger.rows}
    assert details["u005"].startswith("the recording with its features does not fit in memory: more is needed (")
    assert details["u030"].startswith("the search over 10 steps does not fit in memory: 5.76e+08 GB more are needed (")


def test_features_are_computed_before_those_of_a_whole_chunk_are_in_memory(exp, monkeypatch):
    """Rows of recordings do not say how long they are."""
    rows = [{"id": f"u{i}"} for i in range(8)]
    sizes = []

    def compute(trained, feats, check):
        sizes.append([len(x) for x in feats])
        return compute_emissions(trained, feats, check)

    monkeypatch.setattr("ds2cli.nn.infer.compute_emissions", compute)
    monkeypatch.setattr("ds2cli.recognizer.experiment.LONG_S", 1e9)
    lengths = dict(zip((row["id"] for row in rows), (5, 30000, 7, 19990, 20, 3, 3, 3), strict=True))
    chunks = load_emissions(
        rows, Ledger(), Experiment(str(exp)), features=lambda row, _: np.zeros((lengths[row["id"]], 5), np.float32)
    )
    assert [len(item.log_probs) for chunk in chunks for item in chunk] == [3, 15000, 4, 9995, 10, 2, 2, 2]
    assert sizes == [[5, 30000], [7, 19990, 20], [3, 3, 3]]


def test_a_network_that_does_not_fit_is_not_the_fault_of_an_utterance(exp, monkeypatch):
    def load(_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 83904184 bytes.")

    monkeypatch.setattr("ds2cli.nn.checkpoint.make_model", load)
    rows, ledger = [{"id": "a", "feats": "a.ark:2"}, {"id": "b", "feats": "a.ark:9"}], Ledger()
    monkeypatch.setattr("ds2cli.recognizer.emissions.read_matrix", lambda *_: np.zeros((9, 5), np.float32))
    with pytest.raises(Ds2Error, match=r"the network, with torch, does not fit in memory: 83.9 MB more are needed \("):
        list(load_emissions(rows, ledger, Experiment(str(exp))))
    assert not ledger.rows
