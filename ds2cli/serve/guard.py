"""Who may use the server: hosts, origins, tokens, rates, the number of connections."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from ds2cli.serve.service import Service


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on."""
        await self.app(scope, receive, send)
