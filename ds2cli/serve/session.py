"""A stream as the handlers of connections use it, in the event loop: back-pressure, results, the end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance
from ds2cli.recognizer.stream import EmissionStream
from ds2cli.recognizer.utterances import UtteranceStream
from ds2cli.serve.delivery import Delivery
from ds2cli.serve.dispatch import Dispatcher
from ds2cli.serve.refusal import Refusal, bad_request, internal_error

WAITING_S = 2.0
"""Audio that may wait to be recognized (s); then the connection is not read any more, until less waits."""

WAITING_RESULTS = 64
"""Deliveries that may wait to be sent, likewise."""

log = logging.getLogger("ds2cli.serve")


class Session:
    """One stream of a client. All methods are called in the event loop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        emissions: EmissionStream,
        utterances: UtteranceStream,
        rate: int,
        max_s: float,
        on_close: Callable[[Session], None],
    ) -> None:
        """rate: of the samples (Hz). max_s: the longest stream (s). on_close: is called once when it has ended."""
        self.rate, self.max_s = rate, max_s
        self.received = self.heard = 0
        self.is_finishing = False
        self.logs_texts = False
        self._loop = asyncio.get_running_loop()
        self._on_close: Callable[[Session], None] | None = on_close
        self._deliveries: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._stream = dispatcher.open(emissions, utterances, rate, self._deliver)

    @property
    def received_s(self) -> float:
        """Audio received (s)."""
        return self.received / self.rate

    @property
    def heard_s(self) -> float:
        """Audio recognized (s)."""
        return self.heard / self.rate

    async def advance(self, samples: NDArray[np.float32]) -> None:
        """Pass on the next samples (N,); waits while too much waits already. After `finish` they are left out.

        Refusal "too-long" for a stream that gets too long.
        """
        if self.is_finishing:
            return
        if (self.received + len(samples)) / self.rate > self.max_s:
            raise Refusal("too-long", f"a stream may last {self.max_s:g} s at most: begin another one", 413, 1009)
        self.received += len(samples)
        self._stream.advance(samples)
        while not self._ended and not self.is_finishing and self._is_full:
            self._changed.clear()
            await self._changed.wait()

    @property
    def _is_full(self) -> bool:
        return self.received_s - self.heard_s > WAITING_S or len(self._deliveries) > WAITING_RESULTS

    def finish(self) -> None:
        """No more samples follow; the results of what was heard still come. May be called twice."""
        if not self.is_finishing:
            self.is_finishing = True
            self._stream.finish()
            self._changed.set()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """What the stream hears, to its end. Refusal if it ends early: its samples, or a fault of the server."""
        while True:
            while not self._deliveries:
                if self._ended:
                    return
                self._changed.clear()
                await self._changed.wait()
            delivery = self._deliveries.popleft()
            self._changed.set()
            if delivery.error is not None:
                raise _explain(delivery.error)
            yield delivery

    def close(self) -> None:
        """Forget the stream, whether it has ended or not. May be called twice."""
        self._ended = True
        self._stream.abort()
        self._changed.set()
        if self._on_close is not None:
            on_close, self._on_close = self._on_close, None
            on_close(self)

    def _deliver(self, delivery: Delivery) -> None:
        """Called by a search thread."""
        self._loop.call_soon_threadsafe(self._take, delivery)

    def _take(self, delivery: Delivery) -> None:
        self.heard = max(self.heard, delivery.heard)
        self._ended |= delivery.ended
        self._deliveries.append(delivery)
        self._changed.set()
        if self.logs_texts:
            for result in delivery.results:
                if result.final:
                    log.info("stream: %.2f-%.2f s: %s", result.start_s, result.end_s, result.text)


def _explain(error: Exception) -> Refusal:
    if isinstance(error, BadUtterance):
        return bad_request(error.reason, error.detail)
    return internal_error()
