"""How much one client may ask of the server: connections, and requests per minute."""

from __future__ import annotations

import ipaddress
import resource
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ds2cli.errors import Ds2Error

MAX_ADDRESSES = 10_000
"""Addresses whose requests are counted at a time: some 2 MB. Beyond that, the one seen longest ago is forgotten."""

MAX_HEAD = 1 << 16
"""Largest head of a request (bytes)."""

HEADER_S = 10.0
"""Time for the head of a request, from the moment a connection is there or its next request has begun (s)."""

GRACE_S = 10.0
"""Time after `idle` for the application to close a connection with a reason, before it is cut (s)."""

SPARE_FILES = 128
"""Files that the server opens besides the sockets of its connections."""

BACKLOG = 2048
"""Connections that the system keeps until they are accepted: all of them at once, before one can be refused."""

FEWEST_FILES = 64
"""Half of them for connections, half for uploads and the rest."""

MOST_FILES = 1 << 20
"""Open files for which the limit is raised: what Linux allows (fs.nr_open)."""


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of every TCP connection.

    max_connections: at once; others are closed.  idle_s: setting `idle` (s).
    on_refused: is called with a code for each connection that is closed because of a limit.
    """

    max_connections: int
    idle_s: float
    on_refused: Callable[[str], None]

    @property
    def header_s(self) -> float:
        """Time for the head of a request (s)."""
        return min(HEADER_S, self.idle_s)

    @property
    def write_s(self) -> float:
        """Time after which a client is cut that reads nothing (s)."""
        return self.idle_s + GRACE_S


class RateLimit:
    """A token bucket for each address: a number of requests per minute, of which all may come at once."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """per_minute: 0 for no limit."""
        self.per_minute, self.clock = per_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> float:
        """Count a request: 0 if it is allowed, else the time until one is (s)."""
        if not self.per_minute:
            return 0.0
        key, now = _key_of(address), self.clock()
        left, then = self._buckets.pop(key, (float(self.per_minute), now))
        left = min(float(self.per_minute), left + (now - then) * self.per_minute / 60)
        is_allowed = left >= 1
        self._buckets[key] = (left - is_allowed, now)
        while len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return 0.0 if is_allowed else (1 - left) * 60 / self.per_minute


def _key_of(address: str) -> str:
    """What is counted as one client: an IPv4 address, or an IPv6 network of 64 bits, which one household has."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def allow_files(max_connections: int) -> int:
    """Raise this process's limit of open files for a number of connections; returns how many it has files for.

    Ds2Error if it has none for anything else.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(max_connections + SPARE_FILES + BACKLOG, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return max_connections
    if soft < FEWEST_FILES:
        raise Ds2Error(f"this process may open {soft} files, expected at least {FEWEST_FILES} (ulimit -n 1024)")
    return min(max_connections, max(soft - SPARE_FILES, soft // 2))
