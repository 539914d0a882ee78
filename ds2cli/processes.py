"""Child processes: start them with signals left to the parent, and kill them."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

from ds2cli.errors import Ds2Error
from ds2cli.inputs import explain_error

LEFT_TO_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Signals that ask an entire job to stop or to save; only its first process handles them."""


def start_ignoring_signals(processes: Sequence[BaseProcess]) -> None:
    """Start processes with the signals LEFT_TO_PARENT blocked; Ds2Error if the system allows no more of them."""
    # otherwise the first start launches the tracker, which unblocks them
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_PARENT)
    try:
        for process in processes:
            process.start()
    except OSError as e:
        fix = "use fewer: --nj 1, --readers 0, --nproc 1"
        raise Ds2Error(f"a process cannot be started: {explain_error(e)} ({fix})") from e
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill_processes(processes: Sequence[BaseProcess]) -> None:
    """Kill processes, which ignore SIGTERM, and wait for them."""
    for process in processes:
        process.kill()
        process.join()
