"""HTTP over one TCP connection: uvicorn's protocol with limits for clients that are slow, wrong or too many."""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ds2cli.serve.limits import ConnectionLimits
from ds2cli.serve.websocket_protocol import LINGER_S, WebSocketProtocol, plain_answer


class HttpProtocol(H11Protocol):
    """One connection, until it becomes a WebSocket."""

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits = limits
        self.ws_protocol_class = functools.partial(WebSocketProtocol, limits=limits)  # type: ignore[assignment]
        self._header_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._is_ending = self._is_upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse("too-many-connections", 503, "this server has no free connection: try again later")
            transport.close()
            return
        self._header_timer = self.loop.call_later(self.limits.header_s, self._end_slow_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._is_ending:
            return
        super().data_received(data)
        if not self._is_upgraded and not self._is_ending:
            self._watch()

    def _watch(self) -> None:
        """Start or stop the timers after something has arrived."""
        is_between = self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete)
        if not is_between or not self.conn.trailing_data[0]:
            self._header_timer = _cancel(self._header_timer)
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self.limits.header_s, self._end_slow_head)
        if self.conn.their_state is not h11.SEND_BODY:
            self._body_timer = _cancel(self._body_timer)

    def on_response_complete(self) -> None:
        """A request was answered; the rest of its body, which is not read any more, must come soon."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._body_timer = self.loop.call_later(self.limits.idle_s, self.transport.close)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Continue as a WebSocket."""
        self._is_upgraded = True
        self._stop_timers()
        self._unset_keepalive_if_required()
        rest = self.conn.trailing_data[0]
        super().handle_websocket_upgrade(event)
        if rest and not self.transport.is_closing():
            protocol = self.transport.get_protocol()
            assert isinstance(protocol, WebSocketProtocol)
            protocol.data_received(rest)

    def send_400_response(self, msg: str) -> None:
        """Called for a request that is not HTTP/1.1, or larger than MAX_HEAD."""
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self._refuse("bad-request", status, f"this is not a valid HTTP/1.1 request: {error or msg}")
        self._linger()

    def _end_slow_head(self) -> None:
        self._header_timer = None
        self._refuse("slow-request", 408, f"the request did not come within {self.limits.header_s:g} s")
        self._linger()

    def _refuse(self, code: str, status: int, message: str) -> None:
        """Answer past h11, which may be in any state; not into an answer that has begun."""
        self.limits.on_refused(code)
        is_answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self.transport.is_closing() or is_answering:
            return
        self.transport.write(plain_answer(status, message))

    def _linger(self) -> None:
        """Close, after a while in which the client can read the answer: unread data would make it a reset."""
        self._is_ending = True
        self._stop_timers()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.is_closing():
            return
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._body_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def shutdown(self) -> None:
        """Called when the server ends."""
        if self._is_ending:
            self.transport.close()
            return
        try:
            super().shutdown()
        except h11.LocalProtocolError:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client reads slower than the answers come; if that does not end, it is cut."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.limits.write_s, self._abort)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._write_timer = _cancel(self._write_timer)
        super().resume_writing()

    def _abort(self) -> None:
        self.limits.on_refused("slow-reader")
        self.transport.abort()

    def _stop_timers(self) -> None:
        self._header_timer = _cancel(self._header_timer)
        self._body_timer = _cancel(self._body_timer)
        self._write_timer = _cancel(self._write_timer)


def _cancel(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """End a timer; always None."""
    if timer is not None:
        timer.cancel()
    return None
