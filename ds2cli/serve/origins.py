"""Which names a request may call this server by, and which pages may use it.

A page of another server can make a browser send requests to this one, also to one that listens on 127.0.0.1 only. Its
Origin gives it away, except after DNS rebinding: then the name in Host is that of the other server.
"""

from __future__ import annotations

import ipaddress
import re

from ds2cli.config.serve import ServeConfig
from ds2cli.errors import UsageError
from ds2cli.serve.refusal import Refusal

LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_ORIGIN = re.compile(r"(https?)://([^/]+)", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


class Origins:
    """The settings --host, --allowed-hosts and --cors-origins."""

    def __init__(self, config: ServeConfig) -> None:
        """UsageError for a host or an origin that is none."""
        self.hosts: frozenset[str] | None = None
        if config.allowed_hosts or is_loopback(config.host):
            own = [] if is_wildcard(config.host) else [f"[{config.host}]" if ":" in config.host else config.host]
            self.hosts = LOCAL | {_parse_name(name) for name in config.allowed_hosts} | {name.lower() for name in own}
        self.listed = frozenset(map(_parse_origin, config.cors_origins))

    def check_host(self, host: str | None) -> None:
        """Refusal if this server is not called so. None: HTTP/1.0 without a host, which no browser sends."""
        if host is None or self.hosts is None:
            return
        found = _HOST.fullmatch(host)
        if found is None or found[1].lower().rstrip(".") not in self.hosts:
            raise Refusal(
                "wrong-host", f"this server is not called {host[:60]!r}: start it with --allowed-hosts", 403, 1008
            )

    def check_origin(self, origin: str | None, host: str | None) -> None:
        """Refusal for a page that may not use this server. None: not sent by a page."""
        if origin is not None and not self.is_listed(origin) and not _is_same(origin, host):
            raise Refusal(
                "wrong-origin",
                f"pages of {origin[:60]!r} may not use this server: start it with --cors-origins", 403, 1008,
            )  # fmt: skip

    def is_listed(self, origin: str) -> bool:
        """Whether it is one of --cors-origins."""
        return origin.lower() in self.listed


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to the address."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Whether it is every address of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def _is_same(origin: str, host: str | None) -> bool:
    """Whether an origin is that of the host: the scheme may be another one, behind a proxy that does the TLS."""
    page, own = _ORIGIN.fullmatch(origin), _HOST.fullmatch(host or "")
    if page is None or own is None:
        return False
    there = _HOST.fullmatch(page[2])
    if there is None or there[1].lower() != own[1].lower():
        return False
    default = _PORTS[page[1].lower()]
    return int(there[2] or default) == int(own[2] or default)


def _parse_name(name: str) -> str:
    found = _HOST.fullmatch(name)
    if found is None or found[2]:
        raise UsageError(f"--allowed-hosts: expected a name such as speech.example.org, got {name!r}")
    return found[1].lower()


def _parse_origin(origin: str) -> str:
    found = _ORIGIN.fullmatch(origin)
    if found is None or not _HOST.fullmatch(found[2]):
        raise UsageError(f"--cors-origins: expected an origin such as https://example.org, got {origin!r}")
    return origin.lower()
