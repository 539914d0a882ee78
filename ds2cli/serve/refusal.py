"""Refusals: the reason in words, and the status codes of HTTP and WebSocket."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class Refusal(Exception):
    """A request or a stream that is refused or ended early.

    code: a kebab-case word for programs, such as "overloaded".  message: one sentence for people, with the fix.
    status: of HTTP.  close: of WebSocket (RFC 6455, section 7.4, and its registry).
    retry_s: after how long it is worth another try (s); None: not without a change.
    param: the field of the request that is at fault.
    """

    code: str
    message: str
    status: int = 400
    close: int = 1008
    retry_s: int | None = None
    param: str | None = None

    def __str__(self) -> str:
        return self.message


def overloaded(message: str) -> Refusal:
    """The server is at its limit: try again later, or elsewhere."""
    return Refusal("overloaded", message, 503, 1013, retry_s=5)


def stopping() -> Refusal:
    """The server is being stopped: connect again, to the one that follows."""
    return Refusal("stopping", "this server is being stopped: connect again", 503, 1012, retry_s=5)


def too_large(message: str) -> Refusal:
    """More than a limit of the server allows."""
    return Refusal("too-large", message, 413, 1009)


def bad_request(code: str, message: str) -> Refusal:
    """A message or a field that was not understood, or a recording that cannot be read."""
    return Refusal(code, message, 400, 1008)


def internal_error() -> Refusal:
    """A fault of the server; details are in its log."""
    return Refusal("internal-error", "the server failed on this stream; its log says why", 500, 1011)
