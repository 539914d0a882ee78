"""Hostile clients: no crash, no growth beyond MEMORY_MB, no change of the results of others."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from tests.serve.conftest import ROOT, running_server
from tests.serve.hostile_clients import (
    connect_at_once,
    held_connections,
    send_malformed,
    upload_in_parallel,
    vanish,
)
from tests.serve.measures import measure
from tests.serve.raw_socket import recognize, unchanged_streams

MEMORY_MB = 50
"""Growth of the resident memory that is allowed (MB)."""

POOL_THREADS = 2
"""Threads that a pool starts when there is enough to do for them for the first time."""


def attack(server, rng, messages):
    """Everything at once."""
    with held_connections(server.port, rng, 20):
        send_malformed(server.port, rng, messages)
        vanish(server.port, rng, 30)
        connect_at_once(server.port, 200)
        statuses = upload_in_parallel(server.port, 2, 20_000_000)
    assert all(400 <= status < 500 or status == 503 for status in statuses), statuses


def settle(server, held, seconds=20.0):
    """What it holds after the attacks: files and threads must be as before, once the connections have ended."""
    deadline = time.monotonic() + seconds
    while True:
        now = measure(server.process.pid)
        if (now.files <= held.files and now.threads <= held.threads) or time.monotonic() > deadline:
            return now
        time.sleep(0.2)


@pytest.mark.parametrize("messages", [1500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_hostile_clients(exp, messages):
    rng = np.random.default_rng(messages)
    options = ["--max-requests", 0, "--idle", 3, "--max-upload-mb", 10, "--max-streams", 400]
    with running_server(exp, *options) as server:
        # what is allocated once
        attack(server, rng, 50)
        time.sleep(3.5)
        before = measure(server.process.pid)
        with unchanged_streams(server.ws):
            attack(server, rng, messages)
        after = settle(server, before)
        assert after.memory_mb < before.memory_mb + MEMORY_MB, (before, after)
        assert after.children_mb < before.children_mb + MEMORY_MB, (before, after)
        assert after.files <= before.files and after.threads <= before.threads + POOL_THREADS, (before, after)
        assert server.metric("ds2_streams") == 0 and server.metric("ds2_connections") == 1
        assert recognize(server.ws, np.zeros(1600, "<i2")) is not None
    assert "serve: error" not in server.log, server.log


@pytest.mark.slow
def test_soak():
    """What `make soak` runs for longer."""
    command = [sys.executable, str(ROOT / "tests" / "serve" / "soak.py"), "--minutes", "1", "--every", "15"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "soak: 0 faults" in done.stdout, done.stdout + done.stderr
