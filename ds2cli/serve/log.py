"""The log of the server: one line per event; no texts that were recognized, no tokens.

Everything is written to the loggers `ds2cli.serve`, `uvicorn.error` and `asyncio`; `connect_log` says where that goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import traceback
from collections.abc import Callable, Iterator

LEVELS = {
    "": logging.ERROR,
    "ds2cli.serve": logging.INFO,
    "uvicorn.error": logging.ERROR,
    "asyncio": logging.ERROR,
    # it would warn about what clients send
    "python_multipart": logging.CRITICAL,
}
"""The loggers and the lowest level that is written; the first one is for all others."""

MAX_WAITING = 10_000
"""Lines that may wait to be written; others are left out."""

CLOSE_S = 2.0
"""Time for writing the last lines when the server ends (s)."""

FRAMES = 4
"""Innermost calls that are named with an error."""


class LineHandler(logging.Handler):
    """Writes each record as one line, in a thread: a log that is not read delays no stream."""

    def __init__(self, write: Callable[[str], None], warn: Callable[[str], None]) -> None:
        """write, warn: take a line without its end, the second one for warnings."""
        super().__init__()
        self.write, self.warn = write, warn
        self._lines = queue.Queue[tuple[Callable[[str], None], str] | None](MAX_WAITING)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            write, text = line
            write(text)
            if self._left_out and self._lines.empty():
                count, self._left_out = self._left_out, 0
                self.warn(f"the log was not read: {count} lines of it are missing")

    def close(self) -> None:
        """Write what waits, unless that takes long."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(CLOSE_S)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, asyncio.CancelledError):
            # a request was still running when the server ended
            return
        line = record.getMessage().strip()
        if error is not None:
            line += f": {describe(error)}"
        is_warning = record.levelno == logging.WARNING
        if not is_warning:
            line = f"serve: error: {line}" if record.levelno > logging.WARNING else f"serve: {line}"
        try:
            self._lines.put_nowait((self.warn if is_warning else self.write, line))
        except queue.Full:
            self._left_out += 1


@contextlib.contextmanager
def connect_log(write: Callable[[str], None], warn: Callable[[str], None]) -> Iterator[None]:
    """Within the block, what is logged is written as lines: `serve: …`, or warnings; at its end all are written."""
    handler = LineHandler(write, warn)
    for name, level in LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    try:
        yield
    finally:
        handler.close()


def describe(error: BaseException) -> str:
    """An error with the calls that led to it, innermost first, in one line."""
    calls = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    places = [f"{call.filename.rpartition('/')[2]}:{call.lineno} {call.name}" for call in reversed(calls)]
    inner = f" ({'; '.join(map(describe, error.exceptions[:2]))})" if isinstance(error, BaseExceptionGroup) else ""
    return f"{type(error).__name__}: {error}{inner}" + (f" [{', '.join(places)}]" if places else "")
