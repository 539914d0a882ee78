"""WebSocket over one TCP connection: uvicorn's protocol, with bounds and orderly ends for wrong and slow clients.

What differs from uvicorn 0.54: a message in many fragments takes no more memory than its bytes; a client that reads
nothing is not read either, so that pongs do not pile up, and is cut after a while; what the application sends after the
connection failed is a `ClientDisconnected`; close frames reach clients that are still sending; a bad handshake is
answered; nothing that a client sends is a traceback in the log.
"""

from __future__ import annotations

import asyncio
from asyncio.transports import BaseTransport
from http import HTTPStatus
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.protocol import State

from ds2cli.serve.limits import ConnectionLimits
from ds2cli.serve.refusal import stopping

LINGER_S = 2.0
"""After the end: for how long what a client still sends is read and left out (s)."""

READ_BYTES = 1 << 14
"""Bytes of one read: 2,700 of the smallest frames, some 30 ms, then others have their turn."""


def plain_answer(status: int, message: str) -> bytes:
    """A whole HTTP response, after which the connection is closed."""
    body = (message + "\n").encode("ascii", "replace")
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Content-Type: text/plain", f"Content-Length: {len(body)}",
        "Connection: close", *(["Retry-After: 5"] if status == 503 else []),
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits = limits
        self._write_timer: asyncio.TimerHandle | None = None
        self._is_ending = False

    def connection_made(self, transport: BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._is_ending:
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.limits.on_refused("bad-request")
            self.transport.write(
                b"".join(self.conn.data_to_send()) or plain_answer(400, "this is not a WebSocket handshake")
            )
            self._linger()

    def handle_cont(self, event: Frame) -> None:
        """The next fragment of a message."""
        if not isinstance(self.frames[0], bytearray):
            self.frames[0] = bytearray(self.frames[0])  # type: ignore[call-overload]
        self.frames[0] += event.data  # type: ignore[operator]
        if event.fin:
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """A message is complete."""
        self.frames = [bytes(self.frames[0])]
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.fail(1007, "a text message is not UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def handle_events(self) -> None:
        """What has arrived; nothing after the end."""
        for event in self.conn.events_received():
            if self._is_ending:
                return
            self.conn.events.append(event)
            super().handle_events()

    def handle_parser_exception(self) -> None:
        """The client sent what is no WebSocket: its last messages are of no use."""
        close = self.conn.close_sent
        code, reason = (1006, "") if close is None else (close.code, close.reason)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.limits.on_refused("bad-frame")
        self.stop_keepalive()
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._linger()

    def handle_close(self, event: Frame) -> None:
        """The client closes, or has answered our close frame."""
        if self.close_sent or self.transport.is_closing():
            super().handle_close(event)
            return
        close = self.conn.close_rcvd
        assert close is not None
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code, "reason": close.reason})
        self.stop_keepalive()
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._linger()

    def _linger(self) -> None:
        """Close, after a while in which the client can read the last frame: unread data would make it a reset."""
        # the application has no handshake to answer any more
        self._is_ending = self.handshake_complete = True
        if self.transport.is_closing():
            return
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.read_paused = False
        self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)

    async def send(self, message: ASGISendEvent) -> None:
        """A message of the application. ClientDisconnected after the end."""
        await self.writable.wait()
        if self._is_ending or self.transport.is_closing():
            raise ClientDisconnected
        await super().send(message)

    async def receive(self) -> Any:
        """The next message for the application."""
        message = await super().receive()
        if not self.writable.is_set() and not self._is_ending:
            self._pause_reading()
        return message

    def shutdown(self) -> None:
        """Called when the server ends."""
        self.stop_keepalive()
        if self.handshake_complete and not self.close_sent and self.conn.state is State.OPEN:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1012})
            self.conn.send_close(1012, stopping().message)
            self.transport.write(b"".join(self.conn.data_to_send()))
        elif not self.handshake_complete:
            self.send_500_response()
            self.handshake_complete = True
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.transport.close()

    def pause_writing(self) -> None:
        """The client reads slower than it is sent: read no more of it; if that does not end, it is cut."""
        super().pause_writing()
        if not self._is_ending:
            self._pause_reading()
        self._write_timer = self.loop.call_later(self.limits.write_s, self._abort)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._stop_write_timer()
        if self.queue.empty() and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()
        super().resume_writing()

    def _pause_reading(self) -> None:
        if not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def _abort(self) -> None:
        self.limits.on_refused("slow-reader")
        self.transport.abort()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
