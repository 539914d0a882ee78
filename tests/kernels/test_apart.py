"""A signal while a kernel runs neither breaks its result nor waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from ds2cli.kernels.apart import run_apart

ALIGN = """
import signal, sys, threading, os, time
import numpy as np
from ds2cli.metrics.alignment import align_characters
align_characters(["ab"], ["b"])
def stop(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
text = "abcdefghij" * 6000
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
begin = time.monotonic()
try:
    align_characters([text], [text[::-1]], "sclite")
except KeyboardInterrupt:
    print("stopped", flush=True)
    os._exit(0 if time.monotonic() - begin < 2 else 3)
"""


def test_a_signal_ends_the_wait_for_a_long_alignment():
    done = subprocess.run([sys.executable, "-c", ALIGN], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr


def test_results_and_errors_are_those_of_the_function():
    assert run_apart(max, 3, 5) == 5
    with pytest.raises(ZeroDivisionError):
        run_apart(lambda: 1 // 0)
    assert run_apart(threading.current_thread) is not threading.main_thread()
    found = []
    thread = threading.Thread(target=lambda: found.append(run_apart(threading.current_thread)))
    thread.start()
    thread.join()
    assert found == [thread]


def test_it_works_after_a_fork():
    run_apart(int)
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        os._exit(run_apart(lambda: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
