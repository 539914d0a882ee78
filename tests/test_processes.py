"""Child processes leave the signals of a job to its first process; a process ends with all it has to say."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


END = """
import atexit, os, sys, threading, time
from ds2cli.processes import end_process

class Freed:
    def __del__(self, write=os.write):
        write(1, b"freed")

def work():
    time.sleep(0.2)
    print("thread", end=" ")

freed = Freed()
atexit.register(print, "handler", end=" ")
threading.Thread(target=work).start()
print("first", end=" ")
print("no newline", end="", file=sys.stderr)
{before}
end_process({status})
"""


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def end(status, before=""):
    code = END.format(before=before, status=status)
    return subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)


@pytest.mark.parametrize("status", [0, 3, 141])
def test_a_process_ends_after_its_threads_and_handlers_without_freeing_its_objects(status):
    done = end(status)
    assert (done.returncode, done.stdout, done.stderr) == (status, "first thread handler ", "no newline")


@pytest.mark.parametrize("tool", ["settrace", "setprofile"])
def test_under_a_debugger_or_a_profiler_a_process_ends_as_usual(tool):
    done = end(3, f"sys.{tool}(lambda *_: None)")
    assert (done.returncode, done.stdout) == (3, "first thread handler freed")


def test_a_profile_of_a_command_is_written(tmp_path):
    command = [sys.executable, "-m", "cProfile", "-o", tmp_path / "profile", "-m", "ds2cli", "--version"]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
    assert (tmp_path / "profile").stat().st_size > 1000


SUSPENDED = """
import sys
from ds2cli import __main__
from ds2cli.cli import main

def rows():
    try:
        yield 1
    finally:
        print("cleaned up")

def command():
    suspended = rows()
    next(suspended)
    sys.exit(3)

main.main = command
__main__.run()
"""


def test_suspended_generators_clean_up_before_a_command_ends():
    done = subprocess.run([sys.executable, "-c", SUSPENDED], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "cleaned up\n", "")


def test_ctrl_c_ends_a_process_that_waits_for_its_threads():
    before = "import os, signal; threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start(); "
    before += "threading.Thread(target=time.sleep, args=(60,)).start()"
    done = end(0, before)
    assert (done.returncode, done.stderr) == (130, "no newline")


def test_output_that_cannot_be_written_is_reported():
    code = "from ds2cli.processes import end_process; print('row'); end_process(0)"
    env = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], env=env, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 120 and "No space left on device" in done.stderr
