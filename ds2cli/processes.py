"""Child processes: started so that they leave signals to their parent, and ended for certain."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

LEFT_TO_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Signals that ask a whole job to end or to save: its first process decides what that means."""


def start_ignoring_signals(processes: Sequence[BaseProcess]) -> None:
    """Start processes that never get the signals LEFT_TO_PARENT."""
    # else the first start would start it, and unblock them
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_PARENT)
    try:
        for process in processes:
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill(processes: Sequence[BaseProcess]) -> None:
    """End processes that are deaf to anything milder, as Python's own way to end them when it exits."""
    for process in processes:
        process.kill()
        process.join()
