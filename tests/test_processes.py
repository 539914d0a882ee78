"""Child processes leave the signals of a job to its first process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

from ds2cli.processes import kill_processes, start_ignoring_signals


def test_the_signals_of_a_job_do_not_end_its_child_processes():
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    start_ignoring_signals([process])
    try:
        # to stop: Ctrl-C, a scheduler; to save a checkpoint
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            os.kill(process.pid, number)
        process.join(0.3)
        assert process.is_alive()
    finally:
        kill_processes([process])
    assert not process.is_alive()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == blocked
