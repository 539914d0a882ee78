"""The log of the server: one line per event; no texts that were recognized, no tokens.

Everything is written to the loggers `ds2cli.serve`, `uvicorn.error` and `asyncio`; `connect_log` says where that goes.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable

LEVELS = {"ds2cli.serve": logging.INFO, "uvicorn.error": logging.ERROR, "asyncio": logging.ERROR}
"""The loggers and the lowest level that is written."""

FRAMES = 4
"""Innermost calls that are named with an error."""


class LineHandler(logging.Handler):
    """Writes each record as one line."""

    def __init__(self, write: Callable[[str], None], warn: Callable[[str], None]) -> None:
        """write, warn: take a line without its end, the second one for warnings."""
        super().__init__()
        self.write, self.warn = write, warn

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, asyncio.CancelledError):
            # a handler that was still running when the server ended
            return
        line = record.getMessage().strip()
        if error is not None:
            line += f": {describe(error)}"
        if record.levelno == logging.WARNING:
            self.warn(line)
        else:
            self.write(f"serve: error: {line}" if record.levelno > logging.WARNING else f"serve: {line}")


def connect_log(write: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """From now on, what is logged is written as lines: `serve: …`, or warnings."""
    handler = LineHandler(write, warn)
    for name, level in LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def describe(error: BaseException) -> str:
    """An error with the calls that led to it, innermost first, in one line."""
    calls = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    places = [f"{call.filename.rpartition('/')[2]}:{call.lineno} {call.name}" for call in reversed(calls)]
    inner = f" ({'; '.join(map(describe, error.exceptions[:2]))})" if isinstance(error, BaseExceptionGroup) else ""
    return f"{type(error).__name__}: {error}{inner}" + (f" [{', '.join(places)}]" if places else "")
