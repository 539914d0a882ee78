"""Batch dispatch: the streams of all connections through one network (paper §7.1).

Eager: whatever audio is there of all streams forms the next batch as soon as the last one is done; nothing waits for a
batch to fill. The network's threads compute a batch together, others search. A stream is in one batch with at most one
piece of PIECE_S, and goes to the end of the line with what is left: one that sends faster than real time slows no other
down.
What a stream hears depends on its samples alone, to the bit: not on its neighbours, nor on the batches.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance
from ds2cli.recognizer.stream import EmissionStream
from ds2cli.recognizer.utterances import UtteranceStream
from ds2cli.serve.batch import BatchComputer, Input
from ds2cli.serve.delivery import Delivery, Observer, Unobserved

PIECE_S = 0.2
"""Most audio of one stream in a batch (s)."""

PENDING_PIECES = 4
"""Pieces of a stream that may wait for the search; with more, the network leaves the stream out of batches."""

SEARCH_PIECES = 2
"""Most pieces of one stream that are searched in one turn."""

Samples = NDArray[np.float32]
log = logging.getLogger("ds2cli.serve")


@dataclass
class _Piece:
    log_probs: Samples
    samples: int
    arrived: float
    due: float
    end: bool


@dataclass(eq=False)
class DispatchedStream:
    """One stream; its methods may be called by any thread, but by one at a time."""

    emissions: EmissionStream
    utterances: UtteranceStream
    rate: int
    deliver: Callable[[Delivery], None]
    _dispatcher: Dispatcher
    _opened: float = field(default_factory=time.monotonic)
    # the fields below are guarded by the lock of the dispatcher
    _inbox: deque[tuple[Samples, float]] = field(default_factory=deque)
    _pieces: deque[_Piece] = field(default_factory=deque)
    _is_ending: bool = False
    _is_closed: bool = False
    _in_network: bool = False
    _in_search: bool = False
    _taken: int = 0
    _heard: int = 0

    @property
    def _due(self) -> float:
        """When the next samples of the inbox had arrived, or would have in real time if they came faster."""
        return max(self._inbox[0][1], self._opened + self._taken / self.rate)

    def advance(self, samples: Samples) -> None:
        """Take the next samples (N,), float32 of the stream's rate; returns at once."""
        self._dispatcher._put(self, samples, end=False)

    def finish(self) -> None:
        """No more samples follow: the last delivery has `ended`."""
        self._dispatcher._put(self, None, end=True)

    def abort(self) -> None:
        """Forget the stream: nothing is delivered any more, except what is being computed now."""
        self._dispatcher._remove(self)


class Dispatcher:
    """Computes the streams of one network in batches."""

    def __init__(self, max_batch: int = 32, threads: int = 2, observer: Observer | None = None) -> None:
        """max_batch: streams in a batch, at most; 1 computes one after another.

        threads: of the network, among which a batch is divided, and as many of the search.
        """
        self._computer = BatchComputer(threads)
        self.max_batch, self.observer = max_batch, observer or Unobserved()
        self._lock = threading.Lock()
        self._network_ready, self._search_ready = threading.Condition(self._lock), threading.Condition(self._lock)
        self._network_queue: deque[DispatchedStream] = deque()
        self._search_queue: deque[DispatchedStream] = deque()
        self._streams: set[DispatchedStream] = set()
        self._stopped = False
        self._threads = [threading.Thread(target=self._run_network, name="network", daemon=True)]
        self._threads += [
            threading.Thread(target=self._run_search, name=f"search-{i}", daemon=True) for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def open(
        self, emissions: EmissionStream, utterances: UtteranceStream, rate: int, deliver: Callable[[Delivery], None]
    ) -> DispatchedStream:
        """A new stream of samples at `rate` (Hz). deliver: called by a search thread with what is new; returns soon."""
        stream = DispatchedStream(emissions, utterances, rate, deliver, self)
        with self._lock:
            self._streams.add(stream)
        return stream

    @property
    def streams(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    @property
    def delay_s(self) -> float:
        """For how long the oldest audio has been waiting, for the network or the search (s).

        What came faster than real time counts from when it would have come: it is no delay that a file sent at once
        takes its time.
        """
        with self._lock:
            due = [stream._due for stream in self._network_queue if stream._inbox]
            due += [stream._pieces[0].due for stream in self._search_queue if stream._pieces]
        return max(time.monotonic() - min(due), 0.0) if due else 0.0

    def close(self) -> None:
        """End the threads; open streams get nothing more."""
        with self._lock:
            self._stopped = True
            self._network_ready.notify_all()
            self._search_ready.notify_all()
        for thread in self._threads:
            thread.join()
        self._computer.close()

    def _put(self, stream: DispatchedStream, samples: Samples | None, *, end: bool) -> None:
        with self._lock:
            if stream._is_closed or stream._is_ending:
                return
            if samples is not None and len(samples):
                stream._inbox.append((samples, time.monotonic()))
            if end:
                stream._is_ending = True
                stream._inbox.append((np.zeros(0, np.float32), time.monotonic()))
            self._queue_for_network(stream)

    def _remove(self, stream: DispatchedStream) -> None:
        with self._lock:
            stream._is_closed = True
            stream._inbox.clear()
            stream._pieces.clear()
            self._streams.discard(stream)

    def _queue_for_network(self, stream: DispatchedStream) -> None:
        if stream._inbox and not stream._in_network and len(stream._pieces) < PENDING_PIECES:
            stream._in_network = True
            self._network_queue.append(stream)
            self._network_ready.notify()

    def _run_network(self) -> None:
        while batch := self._next_batch():
            start = time.monotonic()
            pieces = self._compute(batch)
            seconds = time.monotonic() - start
            with self._lock:
                for (stream, _), piece in zip(batch, pieces, strict=True):
                    stream._in_network = False
                    if piece is None or stream._is_closed:
                        continue
                    stream._pieces.append(piece)
                    self._queue_for_search(stream)
                    self._queue_for_network(stream)
            audio_s = sum(piece.samples / stream.rate for (stream, piece) in batch)
            self.observer.batch(len(batch), audio_s, seconds)

    def _next_batch(self) -> list[tuple[DispatchedStream, _Piece]]:
        """The next piece of each stream that has one, with its samples in place of log-probabilities; waits for one."""
        with self._lock:
            batch: list[tuple[DispatchedStream, _Piece]] = []
            while not batch and not self._stopped:
                while not self._network_queue and not self._stopped:
                    self._network_ready.wait()
                while self._network_queue and len(batch) < self.max_batch:
                    stream = self._network_queue.popleft()
                    if stream._is_closed or not stream._inbox:
                        stream._in_network = False
                        continue
                    batch.append((stream, _take_piece(stream)))
            return [] if self._stopped else batch

    def _compute(self, batch: Sequence[tuple[DispatchedStream, _Piece]]) -> list[_Piece | None]:
        """The pieces with log-probabilities; None for a stream that has failed."""
        inputs = [Input(stream.emissions, piece.log_probs, piece.end) for stream, piece in batch]
        found: list[_Piece | None] = []
        for (stream, piece), log_probs in zip(batch, self._computer.compute(inputs), strict=True):
            if isinstance(log_probs, Exception):
                self._fail(stream, log_probs)
                found.append(None)
            else:
                found.append(_Piece(log_probs, piece.samples, piece.arrived, piece.due, piece.end))
        return found

    def _queue_for_search(self, stream: DispatchedStream) -> None:
        if stream._pieces and not stream._in_search:
            stream._in_search = True
            self._search_queue.append(stream)
            self._search_ready.notify()

    def _run_search(self) -> None:
        while True:
            with self._lock:
                while not self._search_queue and not self._stopped:
                    self._search_ready.wait()
                if self._stopped:
                    return
                stream = self._search_queue.popleft()
                pieces = [stream._pieces.popleft() for _ in range(min(len(stream._pieces), SEARCH_PIECES))]
                # what had waited for room in the search
                self._queue_for_network(stream)
            if pieces:
                self._search(stream, pieces)
            with self._lock:
                stream._in_search = False
                self._queue_for_search(stream)

    def _search(self, stream: DispatchedStream, pieces: Sequence[_Piece]) -> None:
        """Search pieces at once: a partial text in between would be late."""
        end = pieces[-1].end
        try:
            log_probs = [piece.log_probs for piece in pieces if len(piece.log_probs)]
            results = stream.utterances.advance(np.concatenate(log_probs), end=end) if log_probs else []
            if end:
                results += stream.utterances.finish()
        except Exception as e:
            self._fail(stream, e)
            return
        stream._heard += sum(piece.samples for piece in pieces)
        now = time.monotonic()
        for piece in pieces:
            self.observer.searched(now - piece.arrived)
        is_open = not stream._is_closed
        if end:
            # removed first: who gets the last delivery may count the streams that are left
            self._remove(stream)
        if is_open:
            self._deliver(stream, Delivery(results, stream._heard, end))

    def _fail(self, stream: DispatchedStream, error: Exception) -> None:
        if not isinstance(error, BadUtterance):
            log.error("a stream failed", exc_info=error)
        is_open = not stream._is_closed
        self._remove(stream)
        if is_open:
            self._deliver(stream, Delivery((), stream._heard, True, error))

    def _deliver(self, stream: DispatchedStream, delivery: Delivery) -> None:
        try:
            stream.deliver(delivery)
        except Exception as e:
            log.error("the results of a stream cannot be delivered", exc_info=e)
            self._remove(stream)


def _take_piece(stream: DispatchedStream) -> _Piece:
    """The next samples of a stream, at most PIECE_S of them."""
    size, parts, count = max(round(PIECE_S * stream.rate), 1), list[Samples](), 0
    arrived, due = stream._inbox[0][1], stream._due
    while stream._inbox and count < size:
        samples, time_ = stream._inbox.popleft()
        if len(samples) > size - count:
            stream._inbox.appendleft((samples[size - count :], time_))
            samples = samples[: size - count]
        parts.append(samples)
        count += len(samples)
    end = stream._is_ending and not stream._inbox
    stream._taken += count
    return _Piece(np.concatenate(parts), count, arrived, due, end)
