"""OpenAI's protocol for recordings: `POST /v1/audio/transcriptions`, `GET /v1/models`.

Its official clients work as they are. What this server cannot do is refused with the protocol's error object; no field
is ignored.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ds2cli.manifest import Row
from ds2cli.serve.openai_answers import FORMATS, LANGUAGES, describe_model, format_error, make_answer
from ds2cli.serve.openai_form import FILE, Fields, FormReader, gone
from ds2cli.serve.refusal import Refusal, bad_request, internal_error
from ds2cli.serve.service import Service
from ds2cli.serve.uploads import Upload

PATH = "/v1/audio/transcriptions"

GRANULARITIES = ("segment", "word")
STREAMED = ("json", "text")
"""Formats that can be asked for with `stream`, whose events have texts only."""

LINGER_S = 10.0
"""For how long the rest of a body is received after a refusal: many clients read no answer before they sent all."""

log = logging.getLogger("ds2cli.serve")


@dataclass(frozen=True)
class Options:
    """What a client asks for, as in the protocol. hotwords: the phrases of `prompt`."""

    form: str = "json"
    granularities: tuple[str, ...] = ("segment",)
    stream: bool = False
    hotwords: tuple[str, ...] = ()


def routes(service: Service) -> list[BaseRoute]:
    """The routes of the protocol; what is below /v1 and no part of it is refused in its own way."""
    created = int(Path(service.exp).stat().st_mtime)

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [describe_model(name, created) for name in service.names]})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in service.names:
            return _respond(service, _unknown_model(name, service))
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
    service.metrics.refused.labels(refusal.code).inc()
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
            self.service.metrics.refused.labels(e.code).inc()
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
            row = await self._transcribe(upload, options, _ignore)
        finally:
            watch.cancel()
        body, media_type = make_answer(
            options.form, row, self.language, self.service.experiment.vocab, options.granularities
        )
        await self._send_all(200, body, {"content-type": media_type})

    async def _transcribe(self, upload: Upload, options: Options, notify: Any) -> Row:
        service = self.service
        row = await service.uploads.transcribe(upload, lambda: service.search_with(options.hotwords), notify)
        text = f": {row['pred_text']}" if service.config.log_texts else ""
        log.info("upload: %.1f s of audio%s", row["duration"], text)
        return row

    async def _watch(self, upload: Upload) -> None:
        """End the upload when the client leaves."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        upload.end(gone())

    async def _stream(self, upload: Upload, options: Options) -> None:
        """Server-sent events: a delta per part of the text, and the whole text."""
        parts: asyncio.Queue[str | None] = asyncio.Queue()
        work = asyncio.ensure_future(self._transcribe(upload, options, parts.put_nowait))

        def end(work: asyncio.Future[Row]) -> None:
            if not work.cancelled():
                # it is raised below, if anybody is still there
                work.exception()
            parts.put_nowait(None)

        work.add_done_callback(end)
        try:
            text = ""
            while (part := await parts.get()) is not None:
                if part:
                    delta = f" {part}" if text else part
                    text += delta
                    await self._send_event({"type": "transcript.text.delta", "delta": delta})
            await work
            await self._send_event({"type": "transcript.text.done", "text": text})
            await self.send({"type": "http.response.body", "body": b""})
        finally:
            work.cancel()

    async def _send_event(self, event: Mapping[str, Any]) -> None:
        if not self.has_begun:
            await self._begin(200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"})
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


def parse_options(fields: Fields, models: tuple[str, ...], language: str) -> Options:
    """What the fields of a form say. Refusal for a field that is unknown, given twice, or asks for the impossible."""
    values = dict(fields)
    granularities = values.pop("timestamp_granularities[]", []) + values.pop("timestamp_granularities", [])
    for name, given in values.items():
        if name not in _FIELDS:
            raise _bad_field(
                name[:60], f"unknown field, expected {', '.join((FILE, *_FIELDS, 'timestamp_granularities[]'))}"
            )
        if len(given) > 1:
            raise _bad_field(name, "given twice")
    texts = {name: given[0].strip() for name, given in values.items()}
    _check_model(texts.get("model", ""), models)
    _check_language(texts.get("language", ""), language)
    _check_temperature(texts.get("temperature", ""))
    form = texts.get("response_format") or "json"
    if form not in FORMATS:
        raise _bad_field("response_format", f"expected {', '.join(FORMATS)}, got {form[:60]!r}")
    for value in granularities:
        if value not in GRANULARITIES:
            raise _bad_field("timestamp_granularities[]", f"expected segment or word, got {value[:60]!r}")
    if granularities and form != "verbose_json":
        raise _bad_field("timestamp_granularities[]", "only applies to response_format verbose_json")
    stream = texts.get("stream", "").lower()
    if stream not in ("", "true", "false", "1", "0"):
        raise _bad_field("stream", f"expected true or false, got {stream[:60]!r}")
    is_stream = stream in ("true", "1")
    if is_stream and form not in STREAMED:
        raise _bad_field("stream", f"needs response_format json or text, got {form}")
    phrases = (" ".join(phrase.split()) for phrase in re.split(r"[,\n]", texts.get("prompt", "")))
    hotwords = tuple(dict.fromkeys(phrase for phrase in phrases if phrase))
    return Options(form, tuple(granularities) or ("segment",), is_stream, hotwords)


_FIELDS = ("model", "language", "prompt", "response_format", "temperature", "stream")
"""Fields that are given once, besides the file."""


def _check_model(name: str, models: tuple[str, ...]) -> None:
    if not name:
        raise _bad_field("model", f"is missing, expected {' or '.join(models)}")
    if name not in models:
        raise _unknown_model(name, models)


def _unknown_model(name: str, models: tuple[str, ...] | Service) -> Refusal:
    names = models.names if isinstance(models, Service) else models
    message = f"model: this server has {' and '.join(names)}, not {name[:60]!r}"
    return Refusal("model_not_found", message, 404, param="model")


def _check_language(given: str, language: str) -> None:
    """`given` may have a region, as in en-US, or be a name, such as english."""
    code = re.split("[-_]", given.lower())[0]
    own = re.split("[-_]", language.lower())[0]
    if code and code not in (own, LANGUAGES.get(own)):
        raise _bad_field("language", f"this server understands {language}, not {given[:60]!r}")


def _check_temperature(given: str) -> None:
    try:
        is_zero = not given or float(given) == 0
    except ValueError:
        is_zero = False
    if not is_zero:
        raise _bad_field("temperature", f"expected 0, as nothing is sampled at random here, got {given[:60]!r}")


def _bad_field(name: str, message: str) -> Refusal:
    refusal = bad_request("bad-field", f"{name}: {message}")
    refusal.param = name
    return refusal
