"""Run the application: sockets, TLS, signals, and the end: nothing that was heard is lost (SIGTERM)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from ds2cli.errors import Ds2Error
from ds2cli.serve.app import create_app
from ds2cli.serve.service import Service
from ds2cli.serve.sockets import MAX_MESSAGE, LimitedProtocol

FINISH_S = 10.0
"""After the drain: time for the last results of streams that did not end by themselves (s)."""

TICK_S = 0.05


class Server(uvicorn.Server):
    """Serves until SIGTERM or Ctrl-C; a second one ends it at once."""

    def __init__(self, config: uvicorn.Config, service: Service, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self.service, self.announce = service, announce

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

    def _log_started_message(self, listeners: object) -> None:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self.announce(f"{'https' if self.config.is_ssl else 'http'}://{shown}:{port}")

    async def shutdown(self, sockets: object = None) -> None:
        """Let streams and uploads end, then close the rest."""
        await self._drain()
        await super().shutdown(None)

    async def _drain(self) -> None:
        service = self.service
        service.stop()
        if await self._wait_for_end(service.config.drain):
            return
        for session in list(service.sessions):
            session.finish()
        await self._wait_for_end(FINISH_S)

    async def _wait_for_end(self, seconds: float) -> bool:
        """Wait until nothing is open any more, or for so long, or for a second signal; whether it is."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.service.is_busy and not self.force_exit:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(TICK_S)
        return True


def run(service: Service, announce: Callable[[str], None]) -> None:
    """Serve until a signal. announce: gets the address when connections are accepted. Ds2Error if it is taken."""
    config = service.config
    settings = uvicorn.Config(
        create_app(service),
        host=config.host,
        port=config.port,
        http="h11",
        ws=LimitedProtocol,
        ws_max_size=MAX_MESSAGE,
        ws_ping_interval=20.0,
        # a busy client is not cut: what is idle is found by `idle`
        ws_ping_timeout=None,
        ws_per_message_deflate=False,
        ssl_certfile=config.ssl_certfile,
        ssl_keyfile=config.ssl_keyfile,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    try:
        Server(settings, service, announce).run()
    except SystemExit as e:
        raise Ds2Error(f"{config.host}:{config.port}: this address cannot be used (--port, --host)") from e
    finally:
        service.close()
