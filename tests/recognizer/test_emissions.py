from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from ds2cli.config.model import ModelConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.nn.checkpoint import BEST, dump_model
from ds2cli.nn.infer import emissions
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.emissions import CHUNK, _chunks, load_emissions, map_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "é"))
OTHER = Vocab((BLANK, " ", "x", "y"))
CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)


@pytest.fixture
def exp(tmp_path):
    torch.manual_seed(0)
    data = dump_model(DeepSpeech2(CONFIG, 4, 5).state_dict(), CONFIG, VOCAB, {"hop_ms": 10.0}, {})
    (tmp_path / BEST).write_bytes(data)
    OTHER.save(tmp_path / "tokens.txt")
    return tmp_path


def test_the_symbols_are_those_of_the_weights_not_of_a_training_begun_anew(exp):
    assert Experiment(str(exp)).vocab == VOCAB and Experiment(str(exp / BEST)).vocab == VOCAB


def test_the_symbols_come_without_torch(exp):
    code = f"""
import sys
from ds2cli.recognizer.experiment import Experiment
assert len(Experiment({str(exp)!r}).vocab) == 4
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_weights_the_list_of_symbols_will_do(exp):
    (exp / BEST).unlink()
    assert Experiment(str(exp)).vocab == OTHER
    (exp / "tokens.txt").unlink()
    with pytest.raises(DataError, match="no trained network there"):
        _ = Experiment(str(exp)).vocab


@pytest.mark.parametrize("data", [b"", b"x" * 100])
def test_weights_that_are_not_whole_are_said(exp, data):
    (exp / BEST).write_bytes(data)
    with pytest.raises(DataError, match="not a network"):
        _ = Experiment(str(exp)).vocab


def features(count, frames=20):
    rng = np.random.default_rng(0)
    rows = [{"id": f"u{i:03d}", "num_frames": frames} for i in range(count)]
    arrays = {row["id"]: rng.normal(size=(frames, 5)).astype(np.float32) for row in rows}
    return rows, lambda row, _: arrays[row["id"]]


def test_chunks_begin_small_and_stay_bounded():
    sizes = [len(c) for c in _chunks({"id": str(i)} for i in range(300))]
    assert sizes == [8, 16, 32, 64, 64, 64, 52]
    sizes = [len(c) for c in _chunks({"id": str(i), "num_frames": 9000} for i in range(7))]
    assert sizes == [3, 3, 1]
    assert list(_chunks([])) == []


def test_computed_ones_are_those_of_one_pass_in_order(exp):
    rows, of = features(150)
    experiment = Experiment(str(exp))
    made = [item for some in load_emissions(rows, Ledger(), experiment, features=of) for item in some]
    assert [item.row["id"] for item in made] == [row["id"] for row in rows]
    alone = emissions(experiment.trained, [of(row, experiment) for row in rows])
    assert all(np.allclose(item.log_probs, x, atol=1e-5) for item, x in zip(made, alone, strict=True))
    assert made[0].step_s == 0.02


def test_the_network_and_the_search_work_at_the_same_time(exp):
    """Each waits for the other to have begun: one after the other would wait for ever."""
    rows, of = features(3 * CHUNK)
    network_began, search_began = threading.Event(), threading.Event()

    def computing(row, experiment):
        if row["id"] == "u008":
            # the first of the second chunk
            network_began.set()
            assert search_began.wait(20)
        return of(row, experiment)

    def searching(item):
        search_began.set()
        assert network_began.wait(20)
        return item.row["id"]

    chunks = load_emissions(rows, Ledger(), Experiment(str(exp)), features=computing)
    assert list(map_emissions(searching, chunks, Ledger(), 1)) == [row["id"] for row in rows]


def test_no_more_is_computed_than_a_chunk_ahead(exp):
    rows, of = features(4 * CHUNK)
    computed = []

    def computing(row, experiment):
        computed.append(row["id"])
        return of(row, experiment)

    chunks = load_emissions(rows, Ledger(), Experiment(str(exp)), features=computing)
    taken = 0
    for some in chunks:
        taken += len(some)
        time.sleep(0.2)
        assert taken <= len(computed) <= taken + CHUNK
    assert taken == len(rows)


def test_what_goes_wrong_in_the_background_is_raised(exp):
    rows, of = features(40)

    def broken(row, experiment):
        if row["id"] == "u020":
            raise ZeroDivisionError(row["id"])
        return of(row, experiment)

    made = []
    with pytest.raises(ZeroDivisionError, match="u020"):
        for some in load_emissions(rows, Ledger(), Experiment(str(exp)), features=broken):
            made += some
    assert len(made) == 8
    with pytest.raises(DataError, match="no trained network"):
        list(load_emissions(rows[:1], Ledger(), Experiment(str(exp / "none")), features=of))


def test_bad_utterances_are_dropped_by_the_thread_of_the_caller(exp):
    rows, of = features(40)
    here = threading.get_ident()

    class Watched(Ledger):
        def drop(self, *args, **kwargs):
            assert threading.get_ident() == here
            super().drop(*args, **kwargs)

    def some_bad(row, experiment):
        if int(row["id"][1:]) % 9 == 0:
            raise BadUtterance("too-short", row["id"])
        return of(row, experiment)

    def some_bad_too(item):
        if int(item.row["id"][1:]) % 10 == 1:
            raise BadUtterance("impossible-text", item.row["id"])
        return item.row["id"]

    ledger = Watched()
    chunks = load_emissions(rows, ledger, Experiment(str(exp)), features=some_bad)
    kept = list(map_emissions(some_bad_too, chunks, ledger, 3))
    assert kept == [f"u{i:03d}" for i in range(40) if i % 9 and i % 10 != 1]
    assert ledger.reasons == {"too-short": 5, "impossible-text": 4}
    assert ledger.bad == 9


@pytest.mark.parametrize("how", ["close", "search", "rows"])
def test_nothing_goes_on_after_an_end(exp, how):
    rows, of = features(6 * CHUNK)
    computed = []

    def computing(row, experiment):
        computed.append(row["id"])
        time.sleep(0.005)
        return of(row, experiment)

    def searching(item):
        if how == "search" and item.row["id"] == "u010":
            raise KeyboardInterrupt
        return item.row["id"]

    def given():
        yield from rows[:40]
        if how == "rows":
            raise KeyboardInterrupt
        yield from rows[40:]

    made = map_emissions(
        searching, load_emissions(given(), Ledger(), Experiment(str(exp)), features=computing), Ledger(), 2
    )
    if how == "close":
        next(made)
        made.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            list(made)
    stopped = len(computed)
    assert stopped < 3 * CHUNK
    time.sleep(0.1)
    assert len(computed) == stopped
    assert not [t for t in threading.enumerate() if t.name.startswith(("network", "search"))]
