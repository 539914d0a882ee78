"""Live streams for a server under test: recordings in real time, or as fast as it takes them, over `/stream`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from ds2cli.stages.bench_tally import Tally

REFUSED_WAIT_S = 5.0
"""How long a client that was refused waits before it tries again (s), if the server does not say that."""

ANSWER_S = 60.0
"""How long a stream waits for its last text (s); then it counts as closed with the code `timeout`."""


@dataclass(frozen=True)
class Clip:
    """A recording to send: `data` is 16-bit mono PCM."""

    name: str
    data: bytes
    rate: int

    @property
    def duration_s(self) -> float:
        """Its length (s)."""
        return len(self.data) / 2 / self.rate


@dataclass
class _Stream:
    """What is known of one connection; times of `time.perf_counter`."""

    began: float = 0.0
    finished: float = 0.0
    last_final: float = 0.0
    ended: float = 0.0
    has_partial: bool = False
    refused: str = ""
    retry_s: float = REFUSED_WAIT_S
    texts: list[str] = field(default_factory=list)


async def send_in_turn(
    send: Callable[[int], Awaitable[float]], count: int, seed: Sequence[int], phase_s: float
) -> None:
    """Send recordings 0 … count - 1 in random orders, until this is cancelled.

    send: sends one, and returns how long to wait before the next (s).  phase_s: wait for up to this long at first (s).
    """
    random = np.random.default_rng(seed)
    await asyncio.sleep(random.uniform(0, phase_s))
    while True:
        for i in random.permutation(count):
            if wait_s := await send(int(i)):
                await asyncio.sleep(wait_s)


class StreamLoad:
    """Streams that send recordings one after another until they are stopped."""

    def __init__(
        self,
        url: str,
        clips: Sequence[Clip],
        piece_s: float,
        *,
        seed: int = 0,
        fast: bool = False,
        partials: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """url: of the server, `ws://…`.  piece_s: audio of a message (s).  fast: send without waiting."""
        self.url, self.clips, self.fast, self.headers = f"{url}/stream", clips, fast, dict(headers or {})
        self.piece_s, self.seed = piece_s, seed
        rate = clips[0].rate
        size = 2 * max(round(piece_s * rate), 1)
        # cut once: the generator shall cost little
        self._pieces = [[c.data[begin : begin + size] for begin in range(0, len(c.data), size)] for c in clips]
        self._start = json.dumps({"type": "start", "sample_rate": rate, "partials": partials})
        self.tally = Tally()

    async def run(self, number: int, phase_s: float) -> None:
        """One stream after another, until this is cancelled; see `send_in_turn`."""

        async def send(i: int) -> float:
            stream = await self._send_one(i)
            return 0.0 if stream.ended else stream.retry_s

        await send_in_turn(send, len(self.clips), [self.seed, number], phase_s)

    async def _send_one(self, number: int) -> _Stream:
        """Send one recording."""
        stream, clip = _Stream(), self.clips[number]
        try:
            async with (
                asyncio.timeout(clip.duration_s * 10 + ANSWER_S),
                # pings would count as traffic of the client
                connect(
                    self.url, additional_headers=self.headers, compression=None, proxy=None, ping_interval=None,
                    close_timeout=1,
                ) as websocket,
            ):  # fmt: skip
                await websocket.send(self._start)
                first = json.loads(await websocket.recv())
                if first["type"] == "error":
                    self._refuse(first, stream)
                else:
                    await self._exchange(websocket, self._pieces[number], stream)
                await websocket.wait_closed()
                if not stream.ended and not stream.refused:
                    self.tally.closed[str(websocket.close_code)] += 1
        except InvalidStatus as e:
            self.tally.refused[str(e.response.status_code)] += 1
        except ConnectionClosed as e:
            if not stream.refused:
                self.tally.closed[str(e.rcvd.code if e.rcvd else 1006)] += 1
        except (OSError, InvalidHandshake) as e:
            self.tally.closed["timeout" if isinstance(e, TimeoutError) else "connect"] += 1
        if stream.ended:
            seconds = (stream.last_final or stream.ended) - stream.finished
            self.tally.end(clip.name, " ".join(stream.texts), seconds, clip.duration_s)
        return stream

    async def _exchange(self, websocket: ClientConnection, pieces: Sequence[bytes], stream: _Stream) -> None:
        sending = asyncio.create_task(self._send_pieces(websocket, pieces, stream))
        try:
            async for data in websocket:
                self._take(json.loads(data), stream)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    def _refuse(self, message: Mapping[str, Any], stream: _Stream) -> None:
        stream.refused, stream.retry_s = message["code"], message.get("retry_s", REFUSED_WAIT_S)
        self.tally.refused[message["code"]] += 1

    async def _send_pieces(self, websocket: ClientConnection, pieces: Sequence[bytes], stream: _Stream) -> None:
        """Each piece when its last sample would have been spoken."""
        clock, piece_s = time.perf_counter, self.piece_s
        stream.began = clock()
        for i, piece in enumerate(pieces, start=1):
            if not self.fast:
                due = stream.began + i * piece_s
                if (wait := due - clock()) > 0:
                    await asyncio.sleep(wait)
                self.tally.late.append(clock() - due)
            await websocket.send(piece)
        stream.finished = clock()
        await websocket.send('{"type": "finish"}')

    def _take(self, message: Mapping[str, Any], stream: _Stream) -> None:
        kind, now = message["type"], time.perf_counter()
        if kind == "partial":
            if message["text"] and not stream.has_partial:
                stream.has_partial = True
                self.tally.firsts.append(now - stream.began)
            if not self.fast and not stream.finished:
                self.tally.lags.append(now - stream.began - message["end"])
        elif kind == "final":
            stream.texts.append(message["text"])
            if stream.finished:
                stream.last_final = now
        elif kind == "end":
            stream.ended = now
        elif kind == "error":
            self._refuse(message, stream)
