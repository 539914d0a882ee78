"""Our own protocol for live streams, `/stream` (PROTOCOL.md): text as it grows, and each utterance as it ends."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, fields
from typing import Any

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from ds2cli.config.base import build
from ds2cli.config.endpoint import EndpointConfig
from ds2cli.errors import UsageError
from ds2cli.recognizer.utterances import Result
from ds2cli.search.endpoint import EndpointRules
from ds2cli.serve.refusal import Refusal, bad_request, stopping
from ds2cli.serve.service import Service, StreamOptions
from ds2cli.serve.session import WAITING_S, Session
from ds2cli.serve.sockets import BYTES, check_rate, decode_samples, parse_message, receive, run_socket

SUBPROTOCOL = "ds2"

PROGRESS_S = 1.0
"""Audio after which the client is informed how much was recognized (s)."""

START = {"type", "sample_rate", "encoding", "partials", "nbest", "hotwords", "words"} | {
    f.name for f in fields(EndpointConfig)
}
"""Fields of the message that begins a stream."""


def routes(service: Service) -> list[BaseRoute]:
    """The route of the protocol."""

    async def endpoint(websocket: WebSocket) -> None:
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None
        await run_socket(
            websocket, service, "stream", StreamConnection(websocket, service).run, subprotocol=subprotocol
        )

    return [WebSocketRoute("/stream", endpoint)]


class StreamConnection:
    """One connection."""

    def __init__(self, websocket: WebSocket, service: Service) -> None:
        self.websocket, self.service = websocket, service
        self.encoding = "s16le"
        self.finished_at = 0.0

    async def run(self) -> None:
        """Serve it to its end. Refusal, which the client has also got as a message; Gone."""
        try:
            await self._serve()
        except Refusal as e:
            await self._send(
                {"type": "error", "code": e.code, "message": e.message, **({"retry_s": e.retry_s} if e.retry_s else {})}
            )
            raise

    async def _serve(self) -> None:
        service = self.service
        if service.is_stopping:
            raise stopping()
        first = await receive(self.websocket, service.config.idle)
        options = self._parse_start(parse_message(first) if isinstance(first, str) else {"type": "start"})
        session = service.open_session(options)
        try:
            await self._send(
                {
                    "type": "ready", "sample_rate": options.rate, "encoding": self.encoding,
                    "look_ahead_s": service.look_ahead_s, "language": service.language,
                    "buffer_s": WAITING_S, "max_s": service.config.max_stream,
                }
            )  # fmt: skip
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(session, first if isinstance(first, bytes) else None))
                await self._write(session)
                reading.cancel()
        except* Refusal as e:
            raise e.exceptions[0] from None
        finally:
            session.close()
        if service.is_stopping and not self.finished_at:
            raise stopping()

    async def _read(self, session: Session, data: str | bytes | None) -> None:
        idle_s = self.service.config.idle
        while True:
            if data is not None:
                await self._take(session, data)
            data = await receive(self.websocket, idle_s)

    async def _take(self, session: Session, data: str | bytes) -> None:
        if isinstance(data, bytes):
            await session.advance(decode_samples(data, self.encoding))
            return
        message = parse_message(data)
        kind = message.get("type")
        if kind == "finish":
            self.finished_at = time.monotonic()
            session.finish()
        elif kind == "ping":
            await self._send({"type": "pong"})
        elif kind == "start":
            raise bad_request("bad-message", "start: the stream has begun; open another connection for another one")
        else:
            raise bad_request("bad-message", f"type: expected finish or ping, got {kind!r}"[:200])

    async def _write(self, session: Session) -> None:
        reported = 0.0
        async for delivery in session.deliveries():
            for result in delivery.results:
                await self._send(message_of(result))
            if session.heard_s >= reported + PROGRESS_S:
                reported = session.heard_s
                await self._send(
                    {"type": "progress", "received": round(session.received_s, 3), "heard": round(reported, 3)}
                )
        if self.finished_at:
            self.service.metrics.final_seconds.observe(time.monotonic() - self.finished_at)
        await self._send({"type": "end", "duration": round(session.received_s, 3)})

    async def _send(self, message: dict[str, Any]) -> None:
        await self.websocket.send_text(json.dumps(message, ensure_ascii=False))

    def _parse_start(self, message: dict[str, Any]) -> StreamOptions:
        """The options of the first message; Refusal for one that is not understood."""
        if message.get("type") != "start":
            raise bad_request(
                "bad-message", f"type: expected start as first message, got {message.get('type')!r}"[:200]
            )
        for name in message.keys() - START:
            raise bad_request(
                "bad-message", f"start: unknown field {name!r}, expected {', '.join(sorted(START))}"[:300]
            )
        self.encoding = message.get("encoding", self.encoding)
        if self.encoding not in BYTES:
            raise bad_request("bad-encoding", f"encoding: expected {' or '.join(BYTES)}, got {self.encoding!r}"[:200])
        own = EndpointRules.from_config(self.service.settings)
        defaults = dict(zip((f.name for f in fields(EndpointConfig)), asdict(own).values(), strict=True))
        given = {name: message[name] for name in defaults if name in message}
        try:
            rules = build(EndpointConfig, ("start", {**defaults, **given}))
        except UsageError as e:
            raise bad_request("bad-message", str(e)[:300]) from e
        nbest, partials = message.get("nbest", 0), message.get("partials", True)
        if isinstance(nbest, bool) or not isinstance(nbest, int) or not 0 <= nbest <= 100:
            raise bad_request("bad-message", f"nbest: expected 0 to 100, got {nbest!r}"[:200])
        if not isinstance(partials, bool):
            raise bad_request("bad-message", f"partials: expected true or false, got {partials!r}"[:200])
        return StreamOptions(
            check_rate(message.get("sample_rate", self.service.features.sample_rate)),
            partials,
            nbest,
            EndpointRules.from_config(rules),
            texts(message, "hotwords"),
            texts(message, "words") if "words" in message else None,
        )


def texts(message: dict[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts in a message; Refusal if it is none."""
    found = message.get(name, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise bad_request("bad-message", f"{name}: expected a list of texts, got {found!r}"[:200])
    return tuple(found)


def message_of(result: Result) -> dict[str, Any]:
    """The message of a result: final, or partial."""
    message: dict[str, Any] = {
        "type": "final" if result.final else "partial",
        "text": result.text,
        "start": result.start_s,
        "end": result.end_s,
    }
    if not result.final:
        return {**message, "stable": result.stable, **({"reason": result.reason} if result.reason else {})}
    message["reason"] = result.reason
    if result.words is not None:
        message |= {"conf": result.confidence, "words": result.words}
    if result.nbest is not None:
        message["nbest"] = result.nbest
    return message
