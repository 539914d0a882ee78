"""Who may use the server: hosts, origins, tokens, rates. A request is refused with a reason, before its body is read.

A WebSocket is accepted and then closed with a code and a reason: browsers show neither the status nor the text of a
handshake that was refused. On `/stream`, the same comes as a message of its protocol first.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ds2cli.config.serve import ServeConfig
from ds2cli.serve.limits import MAX_HEAD, RateLimit
from ds2cli.serve.openai_answers import format_error
from ds2cli.serve.origins import Origins, is_loopback
from ds2cli.serve.refusal import Refusal, bad_request
from ds2cli.serve.service import Service
from ds2cli.serve.sockets import MAX_REASON
from ds2cli.serve.tls import load_tls
from ds2cli.serve.tokens import SUBPROTOCOL_PREFIX, Tokens, read_tokens

HEALTH = ("/healthz", "/readyz")
"""Paths without a limit of requests, for programs that ask often."""

PUBLIC = ("/", *HEALTH)
"""Paths that need no token, and PUBLIC_PREFIX: the page asks for one itself."""

PUBLIC_PREFIX = "/page/"

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
"""Methods that a page of another server must not use. What the others answer, it cannot read."""

MAX_AGE_S = 600
"""For how long a browser remembers what a page of another server may send (s)."""

log = logging.getLogger("ds2cli.serve")


def check_settings(config: ServeConfig) -> None:
    """UsageError for settings of safety that do not fit, before the network is loaded; warnings for risks."""
    Origins(config)
    load_tls(config)
    if config.token_file is not None:
        read_tokens(config.token_file, log.warning)
    elif not is_loopback(config.host):
        log.warning(
            "everyone who can reach %s can use this server: --token-file asks for a token, --ssl-certfile "
            "encrypts the connections",
            config.host,
        )


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        config = service.config
        self.app, self.service = app, service
        self.origins = Origins(config)
        self.tokens: Tokens | None = None
        if config.token_file is not None:
            self.tokens = read_tokens(config.token_file, lambda _: None)
        self.rate = RateLimit(config.max_requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on, answer the others."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
        except Refusal as e:
            address = (scope.get("client") or ("?",))[0]
            self.service.refusals.record(e, f"{address} on {scope['path'][:60]}", e.message)
            if scope["type"] == "websocket":
                await _close(scope, receive, send, e)
            else:
                await _answer(scope["path"], e)(scope, receive, self._with_origin(headers, send))
            return
        if scope["type"] == "websocket":
            # the application does not get the token
            names = [name for name in scope["subprotocols"] if not name.startswith(SUBPROTOCOL_PREFIX)]
            await self.app({**scope, "subprotocols": names}, receive, send)
        elif _is_preflight(scope, headers):
            await _allow(headers)(scope, receive, self._with_origin(headers, send))
        else:
            await self.app(scope, receive, self._with_origin(headers, send))

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refusal for a request that is not allowed."""
        path, is_socket = scope["path"], scope["type"] == "websocket"
        if scope["http_version"] not in ("1.0", "1.1"):
            raise Refusal("bad-request", "this server understands HTTP/1.0 and HTTP/1.1", 505)
        # h11 limits only headers that arrive in several parts
        if sum(len(name) + len(value) for name, value in scope["headers"]) + len(scope["query_string"]) > MAX_HEAD:
            raise Refusal("bad-request", f"the headers of the request have more than {MAX_HEAD} bytes", 431)
        host, origin = (_get_one(headers, name) for name in ("host", "origin"))
        authorization = _get_one(headers, "authorization")
        self.origins.check_host(host)
        is_preflight = not is_socket and _is_preflight(scope, headers)
        if is_socket or is_preflight or scope["method"] in UNSAFE:
            self.origins.check_origin(origin, host)
        if path not in HEALTH and (wait_s := self.rate.take((scope.get("client") or ("",))[0])):
            raise Refusal(
                "too-many-requests",
                f"this address sent more than {self.rate.per_minute} requests per minute: wait", 429, 1013,
                retry_s=int(wait_s) + 1,
            )  # fmt: skip
        is_public = not is_socket and (path in PUBLIC or path.startswith(PUBLIC_PREFIX))
        if self.tokens is None or is_public or is_preflight:
            return
        if not self.tokens.accept(authorization, scope.get("subprotocols", ())):
            which = "the token is not one of this server" if _has_token(scope, authorization) else "a token is needed"
            raise Refusal("unauthorized", f"{which}: send Authorization: Bearer TOKEN", 401, 1008)

    def _with_origin(self, headers: Headers, send: Send) -> Send:
        """Tell the browser whether the page may read the answer."""
        if not self.origins.listed:
            return send
        origin = headers.get("origin")

        async def send_with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                given.add_vary_header("Origin")
                if origin is not None and self.origins.is_listed(origin):
                    given["Access-Control-Allow-Origin"] = origin
            await send(message)

        return send_with_origin


def _get_one(headers: Headers, name: str) -> str | None:
    found = headers.getlist(name)
    if len(found) > 1:
        raise bad_request("bad-request", f"the request has {len(found)} headers {name}")
    return found[0] if found else None


def _has_token(scope: Scope, authorization: str | None) -> bool:
    names: Sequence[str] = scope.get("subprotocols", ())
    return authorization is not None or any(name.startswith(SUBPROTOCOL_PREFIX) for name in names)


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def _allow(headers: Headers) -> Response:
    """The answer to a browser that asks whether a page may send a request."""
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Max-Age": str(MAX_AGE_S),
    }
    if headers.get("access-control-request-private-network") == "true":
        allowed["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=allowed)


def _answer(path: str, refusal: Refusal) -> Response:
    """The answer to a refused request: for `/v1`, as OpenAI's clients expect it."""
    headers = {"Cache-Control": "no-store", "Connection": "close"}
    if refusal.retry_s is not None:
        headers["Retry-After"] = str(refusal.retry_s)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="ds2"'
    if path.startswith("/v1/"):
        return JSONResponse(format_error(refusal), refusal.status, headers)
    return PlainTextResponse(refusal.message + "\n", refusal.status, headers)


async def _close(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    """Accept a WebSocket and close it with a code and a reason."""
    await receive()
    names = [name for name in scope["subprotocols"] if not name.startswith(SUBPROTOCOL_PREFIX)]
    try:
        await send({"type": "websocket.accept", "subprotocol": names[0] if names else None})
        if scope["path"] == "/stream":
            error = {"type": "error", "code": refusal.code, "message": refusal.message}
            if refusal.retry_s is not None:
                error["retry_s"] = refusal.retry_s  # type: ignore[assignment]
            await send({"type": "websocket.send", "text": json.dumps(error)})
        reason = refusal.message.encode()[:MAX_REASON].decode("utf-8", "ignore")
        await send({"type": "websocket.close", "code": refusal.close, "reason": reason})
    except OSError:
        # the connection broke just now
        pass
