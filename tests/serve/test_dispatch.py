"""Batch dispatch alone: each stream hears what it would hear alone, whatever its neighbours do."""

from __future__ import annotations

import logging
import threading
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from ds2cli import Recognizer
from ds2cli.errors import BadUtterance
from ds2cli.serve.batch import BatchComputer, Input
from ds2cli.serve.delivery import Unobserved
from ds2cli.serve.dispatch import PENDING_PIECES, PIECE_S, SEARCH_PIECES, Dispatcher
from tests.runtime.networks import CONFIGS
from tests.serve.conftest import FORWARD, speech, talk, write_network

RATE = 16000
KINDS = {
    "forward": FORWARD,
    "both": replace(FORWARD, bidirectional=True, row_conv=0),
    "gru": replace(FORWARD, cell="gru", activation="tanh", row_conv=0),
    "lstm": replace(FORWARD, cell="lstm", activation="tanh"),
    "2d": replace(CONFIGS["2d"], row_conv=3),
}


class Heard:
    """The deliveries of a stream."""

    def __init__(self):
        self.results, self.heard, self.error, self.times = [], [0], None, []
        self.ended = threading.Event()

    def __call__(self, delivery):
        assert not self.ended.is_set(), "a delivery after the last one"
        assert delivery.heard >= self.heard[-1]
        self.results += delivery.results
        self.heard.append(delivery.heard)
        self.times.append(time.monotonic())
        self.error = delivery.error
        if delivery.ended:
            self.ended.set()

    @property
    def finals(self):
        assert self.ended.wait(60), "the stream has not ended"
        return [result for result in self.results if result.final]


class Batches(Unobserved):
    """Counts the streams of batches, and is called before the next one is formed."""

    def __init__(self):
        self.sizes, self.each = [], lambda: None

    def batch(self, streams, audio_s, seconds):
        self.sizes.append(streams)
        self.each()


@pytest.fixture(scope="module")
def recognizers(shared_folder):
    """One of each kind of network, opened when it is first asked for."""
    opened = {}

    def open_kind(kind):
        if kind not in opened:
            folder = shared_folder(f"dispatch-{kind}", lambda folder: write_network(folder / "nonsense", KINDS[kind]))
            opened[kind] = Recognizer(str(folder / "nonsense"), timestamps=True)
        return opened[kind]

    return open_kind


@pytest.fixture
def dispatcher():
    """A dispatcher as the server has it."""
    found = Dispatcher(max_batch=32, threads=2, observer=Batches())
    yield found
    found.close()


def floats(samples):
    return samples.astype(np.float32) / np.float32(32768)


def open_stream(dispatcher, recognizer, heard=None, rate=RATE):
    """A stream and what it has heard."""
    own = recognizer.stream(rate)
    heard = heard or Heard()
    return dispatcher.open(own.emissions, own.utterances, rate, heard), heard


def alone(recognizer, samples, rate=RATE):
    """The final results of a stream of its own."""
    stream = recognizer.stream(rate)
    results = [*stream.advance(floats(samples)), *stream.finish()]
    return [result for result in results if result.final]


def send(stream, samples, rng, longest=2 * RATE):
    """Send samples in pieces of random sizes, some empty, some of a sample."""
    begin = 0
    while begin < len(samples):
        size = int(rng.choice([0, 1, 7, 160, 1600, int(rng.integers(1, longest))]))
        stream.advance(floats(samples[begin : begin + size]))
        begin += size
    stream.finish()


@pytest.mark.parametrize("max_batch", [1, 3, 32])
@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_a_stream_alone_to_the_bit(recognizers, kind, max_batch):
    recognizer, rng = recognizers(kind), np.random.default_rng(max_batch)
    dispatcher = Dispatcher(max_batch, 2, batches := Batches())
    recordings = [speech(float(rng.uniform(0, 4)), seed) for seed in range(5)] + [talk(2, 1.5, 1.2), speech(0)]
    expected = [alone(recognizer, samples) for samples in recordings]
    opened = [open_stream(dispatcher, recognizer) for _ in range(len(recordings))]
    senders = [
        threading.Thread(target=send, args=(stream, samples, np.random.default_rng([max_batch, i])))
        for i, ((stream, _), samples) in enumerate(zip(opened, recordings, strict=True))
    ]
    for sender in senders:
        sender.start()
    for (_, heard), results, samples in zip(opened, expected, recordings, strict=True):
        # times, confidences and scores too
        assert heard.finals == results
        assert heard.heard[-1] == len(samples) and heard.error is None
    for sender in senders:
        sender.join()
    assert max(batches.sizes) <= max_batch and dispatcher.streams == 0
    dispatcher.close()


@pytest.mark.parametrize("neighbours", [1, 11, 40])
def test_log_probs_do_not_depend_on_the_number_of_neighbours(recognizers, neighbours, dispatcher):
    recognizer, samples = recognizers("forward"), talk(2, 1.0, 1.0)
    expected = alone(recognizer, samples)
    others = [open_stream(dispatcher, recognizer) for _ in range(neighbours)]
    stream, heard = open_stream(dispatcher, recognizer)
    for i, (other, _) in enumerate(others):
        other.advance(floats(speech(1.0, i)))
    for begin in range(0, len(samples), 3200):
        stream.advance(floats(samples[begin : begin + 3200]))
    stream.finish()
    for i, (other, _) in enumerate(others):
        other.advance(floats(speech(1.0, 100 + i)))
        other.finish()
    assert heard.finals == expected
    for i, (_, other) in enumerate(others):
        both = np.concatenate([speech(1.0, i), speech(1.0, 100 + i)])
        if i % 10 == 0:
            assert other.finals == alone(recognizer, both)
    assert max(dispatcher.observer.sizes) > min(neighbours, 8) / 2


def test_neighbours_that_fail_change_nothing(recognizers, dispatcher, caplog, monkeypatch):
    recognizer, samples = recognizers("forward"), talk(2, 1.0, 1.0)
    bad = floats(speech(1)).copy()
    bad[8000] = np.nan
    nan, nan_heard = open_stream(dispatcher, recognizer)
    broken, broken_heard = open_stream(dispatcher, recognizer)
    monkeypatch.setattr(broken.utterances, "advance", lambda *_, **__: 1 / 0)
    faulty, fault_heard = open_stream(dispatcher, recognizer)
    monkeypatch.setattr(faulty.emissions, "resample", lambda *_: 1 / 0)
    aborted, aborted_heard = open_stream(dispatcher, recognizer)
    stream, heard = open_stream(dispatcher, recognizer)
    for begin in range(0, len(samples), 1600):
        piece = floats(samples[begin : begin + 1600])
        for each in (nan, broken, faulty, aborted, stream):
            each.advance(piece)
        if begin == 16000:
            nan.advance(bad)
            aborted.abort()
            aborted.abort()
    stream.finish()
    assert heard.finals == alone(recognizer, samples) and len(heard.finals) > 0
    for other in (nan_heard, broken_heard, fault_heard):
        assert other.ended.wait(10)
    assert isinstance(nan_heard.error, BadUtterance) and nan_heard.error.reason == "not-a-number"
    assert isinstance(broken_heard.error, ZeroDivisionError) and isinstance(fault_heard.error, ZeroDivisionError)
    assert not aborted_heard.ended.is_set() and dispatcher.streams == 0
    # faults of the server are in its log, those of clients are not
    assert [record.message for record in caplog.records] == ["a stream failed"] * 2


def test_a_fault_of_the_network_ends_its_batch_and_the_server_goes_on(recognizers, dispatcher, monkeypatch, caplog):
    recognizer, samples = recognizers("forward"), speech(1)
    first, heard = open_stream(dispatcher, recognizer)
    network = first.emissions.network
    for name in ("advance", "advance_together"):
        if hasattr(network, name):
            monkeypatch.setattr(network, name, lambda *_: 1 / 0)
    first.advance(floats(samples))
    assert heard.ended.wait(10) and isinstance(heard.error, ZeroDivisionError)
    first.advance(floats(samples))
    first.finish()
    monkeypatch.undo()
    second, heard = open_stream(dispatcher, recognizer)
    second.advance(floats(samples))
    second.finish()
    assert heard.finals == alone(recognizer, samples)
    assert caplog.records and all(record.levelno == logging.ERROR for record in caplog.records)


def test_a_batch_for_which_no_thread_can_be_started(recognizers, monkeypatch):
    def fail(*_):
        raise RuntimeError("can't start new thread")

    recognizer, computer = recognizers("forward"), BatchComputer(2)
    inputs = [Input(recognizer.stream(RATE).emissions, floats(speech(1)), True) for _ in range(6)]
    monkeypatch.setattr(computer._pool, "submit", fail)
    assert [type(found) for found in computer.compute(inputs)] == [RuntimeError] * 6
    computer.close()


def test_results_that_cannot_be_delivered_end_their_stream_only(recognizers, dispatcher, caplog):
    recognizer, samples = recognizers("forward"), speech(2)
    calls = []

    def fail(delivery):
        calls.append(delivery)
        raise RuntimeError("the event loop is closed")

    broken, _ = open_stream(dispatcher, recognizer, fail)
    stream, heard = open_stream(dispatcher, recognizer)
    for begin in range(0, len(samples), 1600):
        broken.advance(floats(samples[begin : begin + 1600]))
        stream.advance(floats(samples[begin : begin + 1600]))
    broken.finish()
    stream.finish()
    assert heard.finals == alone(recognizer, samples)
    assert len(calls) == 1 and "cannot be delivered" in caplog.text and dispatcher.streams == 0


def test_a_fast_sender_delays_a_slow_one_by_one_batch(recognizers):
    """The piece of the slow one is in the next batch, although minutes of the other one wait."""
    recognizer = recognizers("forward")
    batches = Batches()
    dispatcher = Dispatcher(4, 2, batches)
    fast = [open_stream(dispatcher, recognizer) for _ in range(3)]
    slow, heard = open_stream(dispatcher, recognizer)
    for stream, _ in fast:
        stream.advance(floats(speech(60)))
        stream.finish()
    for i in range(1, 6):
        before = len(batches.sizes)
        slow.advance(floats(speech(0.1)))
        deadline = time.monotonic() + 10
        while heard.heard[-1] < i * 1600:
            assert time.monotonic() < deadline
            time.sleep(0.0005)
        # the batch that was being computed, its own, and some while it was searched and this thread woke up
        assert len(batches.sizes) - before <= 12
    assert not any(other.ended.is_set() for _, other in fast), "the fast ones were too fast for this test"
    for stream, _ in fast:
        stream.abort()
    dispatcher.close()


def test_a_batch_takes_turns_among_more_streams_than_fit(recognizers):
    recognizer = recognizers("forward")
    dispatcher = Dispatcher(3, 1, batches := Batches())
    lead, ready, recordings = [], threading.Event(), [floats(speech(4, i)) for i in range(9)]
    opened = [open_stream(dispatcher, recognizer) for _ in recordings]
    batches.each = lambda: ready.wait(30) and lead.append([heard.heard[-1] for _, heard in opened])
    for (stream, _), samples in zip(opened, recordings, strict=True):
        stream.advance(samples)
        stream.finish()
    ready.set()
    for _, heard in opened:
        assert heard.ended.wait(60)
    assert batches.sizes.count(3) > 10
    # of what the search has done, whose streams take turns too
    assert max(max(heard) - min(heard) for heard in lead) <= (PENDING_PIECES + SEARCH_PIECES + 1) * PIECE_S * RATE
    dispatcher.close()


def test_the_network_waits_for_a_slow_search(recognizers, monkeypatch):
    """At most PENDING_PIECES of a stream wait for it."""
    recognizer = recognizers("forward")
    dispatcher = Dispatcher(4, 1, batches := Batches())
    stream, heard = open_stream(dispatcher, recognizer)
    go = threading.Event()
    advance = stream.utterances.advance

    def wait(*args, **kwargs):
        go.wait(30)
        return advance(*args, **kwargs)

    monkeypatch.setattr(stream.utterances, "advance", wait)
    samples = speech(20)
    stream.advance(floats(samples))
    stream.finish()
    time.sleep(0.5)
    # those that are being searched, and those that wait
    assert len(batches.sizes) <= PENDING_PIECES + SEARCH_PIECES + 1 and not heard.ended.is_set()
    assert dispatcher.delay_s == 0.0
    go.set()
    assert heard.finals == alone(recognizer, samples)
    dispatcher.close()


def test_memory_of_a_long_stream_does_not_grow(recognizers):
    """With nothing but the dispatcher: what a client may have waiting is bounded by `Session`."""
    recognizer = recognizers("forward")
    dispatcher = Dispatcher(4, 1)
    stream, heard = open_stream(dispatcher, recognizer, Counting())
    piece = floats(talk(1, 1.5, 0.0))
    silence = np.zeros(RATE, np.float32)
    sent = 0
    tracemalloc.start()
    sizes = []
    for i in range(60):
        for part in (piece, silence):
            stream.advance(part)
            sent += len(part)
        while heard.heard < sent:
            time.sleep(0.001)
        if i in (19, 59):
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    stream.finish()
    assert heard.ended.wait(10)
    assert sizes[1] - sizes[0] < 300_000
    dispatcher.close()


class Counting:
    """Keeps nothing but how much was heard."""

    def __init__(self):
        self.heard, self.ended = 0, threading.Event()

    def __call__(self, delivery):
        self.heard = delivery.heard
        if delivery.ended:
            self.ended.set()


def test_delay_is_that_of_the_oldest_audio(recognizers, dispatcher):
    recognizer = recognizers("forward")
    assert dispatcher.delay_s == 0.0
    stream, heard = open_stream(dispatcher, recognizer)
    go, piece = threading.Event(), floats(speech(0.1))
    # the network is busy with the first piece
    dispatcher.observer.each = lambda: go.wait(30)
    stream.advance(piece)
    for _ in range(10):
        time.sleep(0.1)
        stream.advance(piece)
    assert 0.8 < dispatcher.delay_s < 3
    go.set()
    stream.finish()
    assert heard.ended.wait(10) and dispatcher.delay_s == 0.0


def test_a_file_that_is_sent_at_once_is_no_delay(recognizers, dispatcher):
    """Otherwise one client with a long recording would have others refused."""
    recognizer, delays = recognizers("forward"), []
    stream, heard = open_stream(dispatcher, recognizer)
    dispatcher.observer.each = lambda: (delays.append(dispatcher.delay_s), time.sleep(0.01))
    stream.advance(floats(speech(20)))
    stream.finish()
    assert heard.ended.wait(30)
    assert len(delays) >= 100 and max(delays) < 0.2


def test_after_the_end_nothing_is_taken(recognizers, dispatcher):
    recognizer, samples = recognizers("forward"), speech(2)
    stream, heard = open_stream(dispatcher, recognizer)
    stream.advance(floats(samples))
    stream.finish()
    stream.finish()
    stream.advance(floats(samples))
    assert heard.finals == alone(recognizer, samples) and heard.heard[-1] == len(samples)
    stream.advance(floats(samples))
    stream.abort()
    assert dispatcher.streams == 0


def test_close_ends_the_threads_and_forgets_what_waits(recognizers):
    recognizer = recognizers("forward")
    before = threading.active_count()
    dispatcher = Dispatcher(4, 2)
    stream, heard = open_stream(dispatcher, recognizer)
    stream.advance(floats(speech(60)))
    stream.finish()
    begin = time.monotonic()
    dispatcher.close()
    assert time.monotonic() - begin < 5 and threading.active_count() == before
    assert not heard.ended.is_set()
    stream.advance(floats(speech(1)))
    stream.abort()
