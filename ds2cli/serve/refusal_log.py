"""Count refusals for /metrics, and name some of them in the log."""

from __future__ import annotations

import logging

from ds2cli.serve.limits import RateLimit
from ds2cli.serve.metrics import Metrics
from ds2cli.serve.refusal import Refusal

LINES_PER_MINUTE = 12
"""Lines in the log about refusals of one kind; /metrics counts all of them."""

log = logging.getLogger("ds2cli.serve")


class RefusalLog:
    """Of one server; called in the event loop."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._lines = metrics, RateLimit(LINES_PER_MINUTE)

    def record(self, refusal: Refusal, where: str, reason: str | None = None) -> None:
        """Count a refusal. where: who was refused what, for the log.

        reason: None for the code alone, as messages may have texts of the client.
        """
        self._metrics.refused.labels(refusal.code).inc()
        # a fault of the server has a line of its own
        if refusal.code not in ("gone", "internal-error") and not self._lines.take(refusal.code):
            log.info("%s: refused: %s", where, refusal.code if reason is None else reason)
