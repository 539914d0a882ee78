"""Run the application: sockets, TLS, signals, and the end: nothing that was heard is lost (SIGTERM)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import uvicorn

from ds2cli.config.serve import ServeConfig
from ds2cli.errors import Ds2Error
from ds2cli.serve.app import create_app
from ds2cli.serve.http_protocol import HttpProtocol
from ds2cli.serve.limits import BACKLOG, MAX_HEAD, ConnectionLimits, allow_files
from ds2cli.serve.service import Service
from ds2cli.serve.sockets import MAX_MESSAGE
from ds2cli.serve.tls import load_tls

FINISH_S = 10.0
"""After the drain: time for the last results of streams that did not end by themselves (s)."""

TICK_S = 0.05

FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Why the system accepts no connection for now."""

FULL_S = 60.0
"""How often that is logged (s)."""

log = logging.getLogger("ds2cli.serve")


class Server(uvicorn.Server):
    """Serves until SIGTERM or Ctrl-C; a second one ends it at once."""

    def __init__(
        self, config: uvicorn.Config, service: Service, max_connections: int, announce: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self.service, self.max_connections, self.announce = service, max_connections, announce
        self.tls = load_tls(service.config)
        self._told_full = -FULL_S
        self._closing = WeakKeyDictionary[object, float]()
        service.metrics.connections.set_function(lambda: len(self.server_state.connections))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals ourselves: a drained server has done what it should, its exit status is 0."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by a signal."""
        self.force_exit |= self.should_exit
        self.should_exit = True

    async def startup(self, sockets: object = None) -> None:
        """Listen. Ds2Error if the address cannot be used."""
        loop, settings = asyncio.get_running_loop(), self.service.config
        loop.set_exception_handler(self._log_fault)
        await self.lifespan.startup()
        limits = ConnectionLimits(self.max_connections, settings.idle, self._count_refused)
        protocol = functools.partial(HttpProtocol, self.config, self.server_state, {}, limits=limits)
        timeout_s = None if self.tls is None else limits.header_s
        try:
            listener = await loop.create_server(
                protocol, settings.host, settings.port, backlog=self.config.backlog, ssl=self.tls,
                ssl_handshake_timeout=timeout_s, ssl_shutdown_timeout=timeout_s,
            )  # fmt: skip
        except OSError as e:
            raise _cannot_listen(settings, e) from e
        self.servers = [listener]
        host, port = listener.sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self.announce(f"{'http' if self.tls is None else 'https'}://{shown}:{port}")
        self.started = True

    def _log_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio found wrong: one line."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in FULL:
            # comes once per second for each waiting connection
            if time.monotonic() - self._told_full >= FULL_S:
                self._told_full = time.monotonic()
                log.warning(
                    "new connections wait, as the system accepts no more: %s (ulimit -n, --max-connections)",
                    os.strerror(error.errno),
                )
        elif not isinstance(error, ConnectionError | TimeoutError):
            log.error("%s", context["message"], exc_info=error)

    def _count_refused(self, code: str) -> None:
        self.service.metrics.refused.labels(code).inc()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times per second; whether it is time to end."""
        if counter % 10 == 0:
            self._cut_closing()
        return await super().on_tick(counter)

    def _cut_closing(self) -> None:
        """Cut connections that were closed long ago, and whose clients do not read what is left to send."""
        now = time.monotonic()
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if transport.is_closing() and now - self._closing.setdefault(connection, now) > self.service.config.idle:
                transport.abort()

    async def shutdown(self, sockets: object = None) -> None:
        """Let streams and uploads end, then close the rest."""
        await self._drain()
        await super().shutdown(None)

    async def _drain(self) -> None:
        service = self.service
        service.stop()
        if service.is_busy:
            log.info("stopping: streams and uploads have %g s to finish", service.config.drain)
        if await self._wait_for_end(service.config.drain):
            if service.uploads.is_busy:
                # a second signal: at least clients learn why
                service.uploads.end_all()
                await asyncio.sleep(TICK_S)
            return
        for session in list(service.sessions):
            session.finish()
        service.uploads.end_all()
        await self._wait_for_end(FINISH_S)

    async def _wait_for_end(self, seconds: float) -> bool:
        """Wait until nothing is open any more, or for so long, or for a second signal; whether it is."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.service.is_busy and not self.force_exit:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(TICK_S)
        return True


def check_address(config: ServeConfig) -> None:
    """Ds2Error if the address cannot be used, before the network is loaded."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                tried.bind(address)
    except OSError as e:
        raise _cannot_listen(config, e) from e


def run(service: Service, announce: Callable[[str], None]) -> None:
    """Serve until a signal. announce: gets the address when connections are accepted. Ds2Error if it is taken."""
    config = service.config
    connections = allow_files(config.max_connections)
    if connections < config.max_connections:
        log.warning("this process may open files for only %d connections (ulimit -n, --max-connections)", connections)
    settings = uvicorn.Config(
        create_app(service),
        loop="asyncio",
        h11_max_incomplete_event_size=MAX_HEAD,
        ws_max_size=MAX_MESSAGE,
        ws_ping_interval=20.0,
        # no client is cut for a late pong; `--idle` finds dead connections
        ws_ping_timeout=None,
        ws_per_message_deflate=False,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        lifespan="off",
        # X-Forwarded-For is whatever a client says
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    try:
        Server(settings, service, connections, announce).run()
    finally:
        service.close()


def _cannot_listen(config: ServeConfig, error: OSError) -> Ds2Error:
    # asyncio adds text to the system's message
    number = error.errno or 0
    words = os.strerror(number) if number > 0 else error.strerror or str(error)
    return Ds2Error(f"{config.host}:{config.port}: cannot listen there: {words} (--host, --port)")
