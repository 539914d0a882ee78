"""The limits of processes that decode uploads."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

SANDBOX = """
import os, signal, socket, sys, time
from ds2cli.serve.sandbox import Limits, enter
enter(Limits(memory=50_000_000, cpu_s=1, wall_s={wall_s}, file=1000))
{code}
"""


def sandboxed(code, wall_s=20):
    """What a limited process writes, and its status."""
    command = [sys.executable, "-c", SANDBOX.format(code=code, wall_s=wall_s)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr.strip().rpartition("\n")[2], done.returncode


@pytest.mark.parametrize(
    ("code", "output", "status"),
    [
        ("x = bytearray(200_000_000)", "MemoryError", 1),
        ("while True: pass", "", -24),
        ("time.sleep(30)", "", -14),
        ("f = os.memfd_create('x'); os.write(f, bytes(1000)); os.write(f, bytes(1000))", "File too large", 1),
        ("print(os.getpriority(os.PRIO_PROCESS, 0) >= 10)", "True\n", 0),
    ],
)
def test_limits_of_the_sandbox(code, output, status):
    found = sandboxed(code, wall_s=0.5 if "sleep" in code else 20)
    assert output in found[0] and found[1] == status


@pytest.mark.parametrize("code", ["open('/etc/hostname')", "open('/tmp/ds2-x', 'w')", "os.mkdir('/tmp/ds2-x')"])
def test_no_file_is_opened_in_the_sandbox(code):
    output, status = sandboxed(code)
    if status == 0:
        pytest.skip("this kernel has no Landlock")
    assert "Permission" in output
