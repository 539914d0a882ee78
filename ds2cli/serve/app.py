"""The routes of the server."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from ds2cli.serve import openai, page, stream, vosk
from ds2cli.serve.guard import Guard
from ds2cli.serve.service import Service


def create_app(service: Service) -> ASGIApp:
    """The application of an opened network."""
    routes = [*_health(service), *stream.routes(service), *vosk.routes(service), *openai.routes(service)]
    if service.config.page:
        routes += page.routes()
    return Guard(Starlette(routes=routes), service)


def _health(service: Service) -> list[BaseRoute]:
    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        if service.is_stopping:
            return PlainTextResponse("stopping\n", 503)
        return PlainTextResponse("ready\n")

    async def metrics(_: Request) -> Response:
        return Response(service.metrics.expose(), media_type="text/plain; version=0.0.4")

    async def info(_: Request) -> Response:
        return JSONResponse(
            {
                "model": service.names[0],
                "language": service.language,
                "sample_rate": service.features.sample_rate,
                "max_upload_mb": service.config.max_upload_mb,
            }
        )

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/info", info),
    ]
