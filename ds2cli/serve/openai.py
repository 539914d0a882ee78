"""OpenAI's protocol for recordings: `POST /v1/audio/transcriptions`, `GET /v1/models`.

Its official clients work as they are. What this server cannot do is refused with the protocol's error object; no field
is ignored.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ds2cli.manifest import Row
from ds2cli.recognizer.decoder import Search
from ds2cli.serve.openai_answers import Answer, describe_model, format_error, make_answer
from ds2cli.serve.openai_form import FILE, FormReader, gone
from ds2cli.serve.openai_options import Options, parse_options, unknown_model
from ds2cli.serve.refusal import Refusal, internal_error
from ds2cli.serve.service import Service
from ds2cli.serve.uploads import Upload
from ds2cli.text.spacing import space_between

PATH = "/v1/audio/transcriptions"

LINGER_S = 10.0
"""Time for receiving the rest of a body after a refusal (s): many clients read no answer before they have sent all."""

log = logging.getLogger("ds2cli.serve")


def routes(service: Service) -> list[BaseRoute]:
    """The routes of the protocol; what is below /v1 and no part of it is refused in its own way."""
    created = int(Path(service.exp).stat().st_mtime)

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [describe_model(name, created) for name in service.names]})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in service.names:
            return _respond(service, unknown_model(name, service.names))
        return JSONResponse(describe_model(name, created))

    async def other(request: Request) -> Response:
        if request.url.path == "/v1/audio/translations":
            message = f"this server does not translate: it writes what was said, in its language; use {PATH}"
        else:
            message = f"{request.method} {request.url.path[:80]}: this server has POST {PATH} and GET /v1/models"
        return _respond(service, Refusal("not-found", message, 404))

    return [
        Route(PATH, Transcriptions(service), methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),
        Route("/v1/{path:path}", other, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]


def _respond(service: Service, refusal: Refusal) -> Response:
    service.refusals.record(refusal, "upload")
    return JSONResponse(format_error(refusal), refusal.status, _headers_of(refusal))


def _headers_of(refusal: Refusal) -> dict[str, str]:
    if refusal.retry_s is not None:
        return {"retry-after": str(refusal.retry_s)}
    # the official clients would repeat such a request
    return {"x-should-retry": "false"} if refusal.status >= 500 or refusal.status == 408 else {}


class Transcriptions:
    """ASGI application of one route."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.language = service.language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with a recording."""
        await _Exchange(self.service, self.language, scope, receive, send).run()


class _Exchange:
    """One request and its answer."""

    def __init__(self, service: Service, language: str, scope: Scope, receive: Receive, send: Send) -> None:
        self.service, self.language, self.receive, self.send = service, language, receive, send
        self.headers = Headers(scope=scope)
        self.form: FormReader | None = None
        self.has_begun = False

    async def run(self) -> None:
        try:
            try:
                with self.service.uploads.open() as upload:
                    await upload.run(self._answer(upload))
            except Refusal:
                raise
            except Exception:
                log.exception("a request failed")
                raise internal_error() from None
        except Refusal as e:
            self.service.refusals.record(e, "upload")
            if e.code != "gone":
                await self._refuse(e)

    async def _answer(self, upload: Upload) -> None:
        self.form = FormReader(self.headers, self.receive, self.service.uploads, upload)
        fields = await self.form.read()
        options = parse_options(fields, self.service.names, self.language)
        watch = asyncio.ensure_future(self._watch(upload))
        try:
            if options.stream:
                await self._stream(upload, options)
                return
            body, media_type = await self._transcribe(upload, options, _ignore)
        finally:
            watch.cancel()
        await self._send_all(200, body, {"content-type": media_type})

    async def _transcribe(self, upload: Upload, options: Options, notify: Callable[[str], None]) -> Answer:
        service = self.service

        def search() -> Search:
            try:
                return service.search_with(options.hotwords)
            except Refusal as e:
                e.message, e.param = e.message.replace("hotwords", "prompt", 1), "prompt"
                raise

        def finish(row: Row) -> Answer:
            text = f": {row['pred_text']}" if service.config.log_texts else ""
            log.info("upload: %.1f s of audio%s", row["duration"], text)
            return make_answer(options.form, row, self.language, service.experiment.vocab, options.granularities)

        try:
            return await service.uploads.transcribe(upload, search, notify, finish)
        except Refusal as e:
            if e.param is None and e.status < 500:
                e.param = FILE
            raise

    async def _watch(self, upload: Upload) -> None:
        """End the upload when the client leaves."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        upload.end(gone())

    async def _stream(self, upload: Upload, options: Options) -> None:
        """Server-sent events: a delta per part of the text, and the whole text."""
        parts: asyncio.Queue[str | None] = asyncio.Queue()
        work = asyncio.ensure_future(self._transcribe(upload, options, parts.put_nowait))

        def end(work: asyncio.Future[Answer]) -> None:
            if not work.cancelled():
                # it is raised below, if the client is still connected
                work.exception()
            parts.put_nowait(None)

        work.add_done_callback(end)
        try:
            text = ""
            while (part := await parts.get()) is not None:
                if part:
                    delta = f"{space_between(text, part)}{part}"
                    text += delta
                    await self._send_event({"type": "transcript.text.delta", "delta": delta})
            await work
            await self._send_event({"type": "transcript.text.done", "text": text})
            await self.send({"type": "http.response.body", "body": b""})
        finally:
            work.cancel()

    async def _send_event(self, event: Mapping[str, Any]) -> None:
        if not self.has_begun:
            await self._begin(
                200,
                {
                    "content-type": "text/event-stream; charset=utf-8",
                    "cache-control": "no-store",
                    "x-accel-buffering": "no",
                },
            )
        data = f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def _refuse(self, refusal: Refusal) -> None:
        error = format_error(refusal)
        if self.has_begun:
            await self._send_event(error)
            await self.send({"type": "http.response.body", "body": b""})
            return
        headers = {"content-type": "application/json", **_headers_of(refusal)}
        if self.form is not None and self.form.is_read:
            await self._send_all(refusal.status, json.dumps(error), headers)
            return
        await self._send_all(refusal.status, json.dumps(error), {**headers, "connection": "close"}, is_last=False)
        try:
            async with asyncio.timeout(LINGER_S):
                message: Any = {"more_body": True}
                while message.get("more_body", False):
                    message = await self.receive()
        except TimeoutError:
            pass
        await self.send({"type": "http.response.body", "body": b""})

    async def _send_all(self, status: int, body: str, headers: dict[str, str], *, is_last: bool = True) -> None:
        data = body.encode("utf-8", "replace")
        await self._begin(status, {**headers, "content-length": str(len(data))})
        await self.send({"type": "http.response.body", "body": data, "more_body": not is_last})

    def _begin(self, status: int, headers: Mapping[str, str]) -> Awaitable[None]:
        self.has_begun = True
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        return self.send({"type": "http.response.start", "status": status, "headers": raw})


def _ignore(_: str) -> None:
    pass
