"""Processes: start children with signals left to the parent, kill them, and end this one without delay."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from ds2cli.errors import Ds2Error
from ds2cli.inputs import explain_error

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

LEFT_TO_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Signals that ask an entire job to stop or to save; only its first process handles them."""


def start_ignoring_signals(processes: Sequence[BaseProcess]) -> None:
    """Start processes with the signals LEFT_TO_PARENT blocked; Ds2Error if the system allows no more of them."""
    from multiprocessing import resource_tracker

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


def end_process(status: int) -> NoReturn:
    """End this process as sys.exit does in the main thread, but for the freeing of all objects.

    Once torch is loaded, that takes up to three seconds. Python's threads, exit handlers and buffered output are waited
    for, not those of C. Under a debugger or a profiler, which report at the end, this is sys.exit. Call it outside of
    any handler: an exception keeps the generators of its frames from cleaning up.
    """
    if _is_watched():
        sys.exit(status)
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)
    except (OSError, ValueError):
        # Python reports it, with a status of its own
        sys.exit(status)
    os._exit(status)


def _is_watched() -> bool:
    """Whether a debugger or a profiler follows this process; from Python 3.12 on it may use sys.monitoring."""
    monitoring = getattr(sys, "monitoring", None)
    tools = monitoring is not None and any(monitoring.get_tool(number) for number in range(6))
    return tools or sys.gettrace() is not None or sys.getprofile() is not None
