"""The server under test: what its `/metrics` say, and how one is started."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ds2cli.errors import DataError, Ds2Error, UsageError

START_S = 180.0
"""How long a server may take until it accepts connections (s): it may compile its kernels first."""

STOP_S = 60.0
MOST_COUNTED = 10
"""Batches of up to this many streams are counted for each number of streams, as in figure 5 of the paper."""

Metrics = Mapping[str, float]


def read_metrics(url: str, headers: Mapping[str, str]) -> Metrics:
    """The values of `/metrics` by name and labels. DataError if the server does not answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/metrics", headers=dict(headers)), timeout=30) as f:
            lines = f.read().decode().splitlines()
    except urllib.error.HTTPError as e:
        hint = " (--token-file)" if e.code in (401, 403) else ""
        raise DataError(f"{url}/metrics: the server answers {e.code} {e.reason}{hint}") from e
    except (OSError, http.client.HTTPException) as e:
        raise DataError(f"{url}: no server answers: {getattr(e, 'reason', e)} (start one: ds2 serve EXP)") from e
    values = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in values}


def compare_metrics(before: Metrics, after: Metrics, seconds: float) -> dict[str, Any]:
    """The fields of a measurement that come from the server, for the `seconds` between two readings."""

    def difference(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    batches, requests = difference("ds2_batch_streams_count"), difference("ds2_batch_streams_sum")
    audio_s = sum(difference(name) for name in after if name.startswith("ds2_audio_seconds_total"))
    cpu_s, results = difference("ds2_process_cpu_seconds"), difference("ds2_result_seconds_count")
    return {
        "batches": _find_shares(difference, requests) if requests else {},
        "mean_batch": _ratio(requests, batches),
        "batch_ms": _ratio(1e3 * difference("ds2_batch_seconds_sum"), batches),
        "result_ms": _ratio(1e3 * difference("ds2_result_seconds_sum"), results),
        "server_audio_s": round(audio_s, 1),
        "server_cpu_s": round(cpu_s, 2),
        "x_real_time": _ratio(audio_s, seconds),
        "streams_per_core": _ratio(audio_s, cpu_s),
    }


def _find_shares(difference: Any, requests: float) -> dict[str, float]:
    """The probability that the piece of a stream was computed in a batch of n; `more`: of more than MOST_COUNTED."""
    shares, below, counted = {}, 0.0, 0.0
    for n in range(1, MOST_COUNTED + 1):
        up_to = difference(f'ds2_batch_streams_bucket{{le="{n}.0"}}')
        shares[str(n)] = round(n * (up_to - below) / requests, 4)
        counted += n * (up_to - below)
        below = up_to
    shares["more"] = round(1 - counted / requests, 4)
    return shares


def _ratio(value: float, of: float) -> float | None:
    return round(value / of, 2) if of else None


@contextlib.contextmanager
def start_server(exp: str, options: Sequence[str]) -> Iterator[str]:
    """Run `ds2 serve EXP` with options on a free port as a context: its URL. Ds2Error if it does not start."""
    command = [sys.executable, "-m", "ds2cli", "serve", exp, "--port", "0", *options]
    with tempfile.TemporaryFile() as log:
        # Ctrl-C is for the generator, which then ends the server
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
        try:
            yield _wait_for_address(process, log.fileno())
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_address(process: subprocess.Popen[bytes], log: int) -> str:
    deadline = time.monotonic() + START_S
    while True:
        status, text = process.poll(), os.pread(log, 1 << 20, 0).decode("utf-8", "replace")
        if found := re.search(r"https?://[^ ]*:\d+", text):
            return found[0]
        if status is not None:
            message = text.strip().rpartition("\n")[2] or f"exit status {status}"
            raise UsageError(f"ds2 serve exited: {message.removeprefix('ds2: ')}")
        if time.monotonic() > deadline:
            raise Ds2Error(f"ds2 serve accepts no connections after {START_S:g} s")
        time.sleep(0.1)
