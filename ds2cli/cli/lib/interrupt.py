"""Ctrl-C as the end of a live recording."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def ending_on_interrupt(enabled: bool) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets in the context, if enabled; the second one ends the command as usual."""
    interrupted = threading.Event()

    def end(*_: object) -> None:
        signal.signal(signal.SIGINT, previous)
        interrupted.set()

    previous = signal.getsignal(signal.SIGINT)
    # a command started in the background ignores it
    if not enabled or previous != signal.default_int_handler:
        yield interrupted
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
