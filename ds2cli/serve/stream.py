"""Our own protocol for live streams, `/stream` (PROTOCOL.md): text as it grows, and each utterance as it ends."""

from __future__ import annotations

import json
import math
import time
from dataclasses import fields
from typing import Any

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from ds2cli.config.endpoint import EndpointConfig
from ds2cli.errors import UsageError
from ds2cli.recognizer.utterances import Result
from ds2cli.search.endpoint import EndpointRules
from ds2cli.serve.refusal import Refusal, bad_request, stopping
from ds2cli.serve.service import Service, StreamOptions
from ds2cli.serve.session import WAITING_S, Session
from ds2cli.serve.sockets import (
    BYTES,
    ENDS_STREAM,
    Receiver,
    check_rate,
    decode_samples,
    parse_message,
    run_both,
    run_socket,
    send,
    shown,
)

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
    """One connection, with one stream."""

    def __init__(self, websocket: WebSocket, service: Service) -> None:
        self.websocket, self.service = websocket, service
        self.receiver = Receiver(websocket, service.config.idle)
        self.encoding = "s16le"
        self.finished_at = 0.0
        self.refusal: Refusal | None = None

    async def run(self) -> None:
        """Serve it to its end. Refusal, which the client has also got as a message; Gone."""
        try:
            await self._serve()
        except Refusal as e:
            retry = {"retry_s": e.retry_s} if e.retry_s else {}
            await self._send({"type": "error", "code": e.code, "message": e.message, **retry})
            raise

    async def _serve(self) -> None:
        service = self.service
        if service.is_stopping:
            raise stopping()
        data = await self._receive()
        while isinstance(data, str) and is_ping(message := parse_message(data)):
            await self._pong(message)
            data = await self._receive()
        options = self._parse_start(parse_message(data) if isinstance(data, str) else {"type": "start"})
        session = await service.open_session(options)
        try:
            await self._send(
                {
                    "type": "ready", "sample_rate": options.rate, "encoding": self.encoding,
                    "look_ahead_s": service.look_ahead_s, "language": service.language,
                    "buffer_s": WAITING_S, "max_s": session.max_s, "idle_s": service.config.idle,
                    **({"warning": problem} if (problem := service.problem_of(options.rate)) else {}),
                }
            )  # fmt: skip
            await run_both(self._read(session, data if isinstance(data, bytes) else None), self._write(session))
        finally:
            session.close()
        if self.refusal is not None:
            raise self.refusal
        if not self.finished_at:
            raise stopping()
        service.metrics.final_seconds.observe(time.monotonic() - self.finished_at)
        await self._send({"type": "end", "duration": round(session.received_s, 3)})

    async def _read(self, session: Session, data: str | bytes | None) -> None:
        try:
            while True:
                if data is not None:
                    await self._take(session, data)
                data = await self._receive()
        except Refusal as e:
            if e.code not in ENDS_STREAM:
                raise
            if not self.finished_at:
                self.refusal = e
                session.finish()

    async def _take(self, session: Session, data: str | bytes) -> None:
        if isinstance(data, bytes):
            if self.finished_at:
                raise bad_request("bad-message", "samples after finish: open another connection for another stream")
            await session.advance(decode_samples(data, self.encoding))
            return
        message = parse_message(data)
        kind = message.get("type")
        if is_ping(message):
            await self._pong(message)
        elif kind == "finish":
            check_fields(message, {"type"})
            if not self.finished_at:
                self.finished_at = time.monotonic()
                session.finish()
        elif kind == "start":
            raise bad_request("bad-message", "start: the stream has begun: open another connection for another one")
        else:
            raise bad_request("bad-message", f"type: expected finish or ping, got {shown(kind)}")

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

    async def _pong(self, message: dict[str, Any]) -> None:
        check_fields(message, {"type", "id"})
        if not isinstance(id_ := message.get("id", 0), str | int | float) or id_ in (math.inf, -math.inf):
            raise bad_request("bad-message", f"id: expected a text or a number, got {shown(message['id'])}")
        await self._send({**message, "type": "pong"})

    async def _receive(self) -> str | bytes:
        return await self.receiver.receive()

    async def _send(self, message: dict[str, Any]) -> None:
        await send(self.websocket, json.dumps(message, ensure_ascii=False), self.service.config.idle)

    def _parse_start(self, message: dict[str, Any]) -> StreamOptions:
        """The options of the first message; Refusal for one that is not understood."""
        if message.get("type") != "start":
            kind = shown(message.get("type"))
            raise bad_request("bad-message", f"type: expected start, or ping, as the first message, got {kind}")
        check_fields(message, START)
        self.encoding = message.get("encoding", self.encoding)
        if not isinstance(self.encoding, str) or self.encoding not in BYTES:
            raise bad_request("bad-encoding", f"encoding: expected {' or '.join(BYTES)}, got {shown(self.encoding)}")
        settings = self.service.settings
        given = {f.name: message[f.name] for f in fields(EndpointConfig) if f.name in message}
        try:
            rules = EndpointRules.changed(settings, given, "start")
        except UsageError as e:
            raise bad_request("bad-message", str(e)[:300]) from e
        if settings.endpoint_length and not rules.length_s:
            raise bad_request("bad-message", "endpoint_length: expected more than 0: an utterance without end grows")
        nbest, partials = message.get("nbest", 0), message.get("partials", True)
        if isinstance(nbest, bool) or not isinstance(nbest, int) or not 0 <= nbest <= 100:
            raise bad_request("bad-message", f"nbest: expected 0 to 100, got {shown(nbest)}")
        if nbest > 1 and self.service.settings.greedy:
            raise bad_request("no-beam-search", "nbest needs a beam search: this server is greedy")
        if not isinstance(partials, bool):
            raise bad_request("bad-message", f"partials: expected true or false, got {shown(partials)}")
        return StreamOptions(
            check_rate(message.get("sample_rate", self.service.features.sample_rate)),
            partials,
            nbest,
            rules,
            texts(message, "hotwords"),
            texts(message, "words") if "words" in message else None,
        )


def is_ping(message: dict[str, Any]) -> bool:
    """Whether a client, such as a page that cannot send ping frames, asks if the connection is alive."""
    return message.get("type") == "ping"


def check_fields(message: dict[str, Any], known: set[str]) -> None:
    """Refusal if a message has a field that is not known."""
    for name in message.keys() - known:
        expected = ", ".join(sorted(known - {"type"})) or "none"
        raise bad_request("bad-message", f"{message['type']}: unknown field {shown(name)}, expected {expected}")


def texts(message: dict[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts in a message; Refusal if it is none."""
    found = message.get(name, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise bad_request("bad-message", f"{name}: expected a list of texts, got {shown(found)}")
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
