"""What the WebSocket protocols share: frames of samples, idle time, how a connection ends."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from uvicorn.protocols.utils import ClientDisconnected

from ds2cli.serve.refusal import Refusal, bad_request, internal_error
from ds2cli.serve.service import Service

BYTES = {"s16le": 2, "f32le": 4}
"""Encodings of samples: 16-bit integers and 32-bit floats from -1 to 1, little-endian, one channel; bytes of each."""

RATES = (4000, 192_000)
"""Sample rates that are accepted (Hz)."""

MAX_MESSAGE = 1 << 20
"""Largest message (bytes), as of Vosk's server: 32 s of 16 kHz. A stream takes up to some six times as much memory."""

MAX_REASON = 120
"""Bytes of the reason of a close frame: 123, of a control frame of 125 (RFC 6455, section 5.5)."""

CLOSE_S = 5.0
"""Time for a client to read so much that a close frame can be sent (s)."""

MAX_TEXT = 100_000
"""Characters of the largest text message: all phrases that a client may send, and more."""

MESSAGES_PER_S, BURST = 4000, 1000
"""Messages of a connection that are read per second, and after a pause at once. If fewer were, a client that vanished
would keep its stream until the rest of its flood is read."""

MAX_SHOWN = 80
"""Characters of a client's message that are shown in an error."""

ENDS_STREAM = ("idle", "too-long")
"""Codes of refusals that end a stream as its client could: what was heard is still recognized and sent."""

log = logging.getLogger("ds2cli.serve")


class Gone(Exception):
    """The client has closed the connection, or it broke."""


class Receiver:
    """The messages of a connection, at most MESSAGES_PER_S on average: a flood of small ones must delay no others."""

    def __init__(self, websocket: WebSocket, idle_s: float) -> None:
        self.websocket, self.idle_s = websocket, idle_s
        self._allowed, self._counted = float(BURST), time.monotonic()

    async def receive(self) -> str | bytes:
        """The next message. Gone at the end; Refusal "idle" if nothing comes for so long (s)."""
        self._allowed -= 1
        if self._allowed < 0:
            await self._slow_down()
        try:
            async with asyncio.timeout(self.idle_s):
                message = await self.websocket.receive()
        except TimeoutError:
            raise Refusal("idle", f"nothing was received for {self.idle_s:g} s", 408, 1001) from None
        if message["type"] == "websocket.disconnect":
            raise Gone
        data = message.get("bytes")
        return message["text"] if data is None else data  # type: ignore[no-any-return]

    async def _slow_down(self) -> None:
        now = time.monotonic()
        self._allowed = min(self._allowed + (now - self._counted) * MESSAGES_PER_S, BURST)
        self._counted = now
        if self._allowed < 0:
            # several messages per sleep: a short sleep takes longer than asked
            await asyncio.sleep((BURST / 10 - self._allowed) / MESSAGES_PER_S)


async def send(websocket: WebSocket, text: str, idle_s: float) -> None:
    """Send a text message. Gone after the end.

    Refusal "not-read" if the client does not read what was sent before for so long (s).
    """
    if websocket.application_state != WebSocketState.CONNECTED:
        # an earlier message could not be sent
        raise Gone
    try:
        async with asyncio.timeout(idle_s):
            # an unpaired surrogate of a client's text cannot be sent back
            await websocket.send_text(text.encode("utf-8", "replace").decode())
    except TimeoutError:
        raise Refusal("not-read", f"the results were not read for {idle_s:g} s", 408, 1008) from None


async def run_both(reading: Coroutine[Any, Any, None], writing: Coroutine[Any, Any, None]) -> None:
    """Run both until `writing` is done, which ends `reading`. Raises what the first of them that fails has raised."""
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(reading)
            await writing
            task.cancel()
    except BaseExceptionGroup as e:
        raise e.exceptions[0] from None


def shown(value: Any) -> str:
    """A value of a client as an error shows it: short, and on one line."""
    try:
        text = repr(value)
    except RecursionError:
        text = "a deeply nested value"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def decode_samples(data: bytes, encoding: str = "s16le") -> NDArray[np.float32]:
    """Samples (N,) float32; Refusal for a part of a sample."""
    size = BYTES[encoding]
    if len(data) % size:
        raise bad_request("odd-bytes", f"a frame has {len(data)} bytes, expected samples of {size} bytes ({encoding})")
    if encoding == "f32le":
        return np.frombuffer(data, "<f4").astype(np.float32)
    samples: NDArray[np.float32] = np.multiply(np.frombuffer(data, "<i2"), np.float32(1 / 32768), dtype=np.float32)
    return samples


def parse_message(text: str) -> dict[str, Any]:
    """A JSON object; Refusal for anything else."""
    if len(text) > MAX_TEXT:
        raise bad_request("bad-message", f"a text message has {len(text)} characters, expected at most {MAX_TEXT}")
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise bad_request("bad-message", f"expected a JSON object, got {shown(text)}")
    return found


def _refuse_constant(name: str) -> float:
    """NaN and Infinity are not JSON."""
    raise ValueError(name)


def check_rate(value: Any) -> int:
    """A sample rate (Hz), which clients also send as 16000.0; Refusal if it is none that is possible."""
    low, high = RATES
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high or value != int(value):
        raise bad_request("bad-sample-rate", f"sample_rate: expected {low} to {high} Hz, got {shown(value)}")
    return int(value)


async def run_socket(
    websocket: WebSocket,
    service: Service,
    protocol: str,
    work: Callable[[], Awaitable[None]],
    *,
    subprotocol: str | None,
) -> None:
    """Accept a connection, let `work` serve it, and close it with the code of its outcome.

    work: raises Refusal or Gone, or returns when all is done.
    """
    outcome = "done"
    refusal: Refusal | None = None
    try:
        await websocket.accept(subprotocol)
        await work()
    except Refusal as e:
        outcome, refusal = e.code, e
    except (Gone, WebSocketDisconnect, ClientDisconnected):
        outcome = "gone"
    except Exception:
        log.exception("%s: a connection failed", protocol)
        outcome, refusal = "internal-error", internal_error()
    service.metrics.streams_ended.labels(protocol, outcome).inc()
    if refusal is not None:
        service.refusals.record(refusal, protocol)
    if outcome == "gone" or websocket.application_state != WebSocketState.CONNECTED:
        return
    code, reason = (1000, "") if refusal is None else (refusal.close, refusal.message)
    try:
        async with asyncio.timeout(CLOSE_S):
            await websocket.close(code, reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore"))
    except (RuntimeError, WebSocketDisconnect, OSError):
        # the connection broke just now, or the client does not read
        pass
