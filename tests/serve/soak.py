"""`make soak MINUTES=30`: hostile and slow clients, large uploads and floods for a long time, beside others.

The texts of those streams and uploads must stay the same; what the server holds is printed as a table.

Exit status 1 if a text differs, a stream ends with 1011, the log has an error, or what the server holds grows.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.serve.conftest import RunningServer, speech, write_network  # noqa: E402
from tests.serve.hostile_clients import (  # noqa: E402
    connect_at_once,
    held_connections,
    send_malformed,
    upload_in_parallel,
    vanish,
)
from tests.serve.measures import measure  # noqa: E402
from tests.serve.raw_socket import ServerIsFullError, recognize  # noqa: E402
from tests.serve.test_drain import upload as transcribe  # noqa: E402

MEMORY_MB = 50
"""Growth of the resident memory that is allowed, of the server and of its children (MB)."""

POOL_THREADS = 2
IDLE_S = 5
OPTIONS = ["--port", 0, "--max-requests", 0, "--idle", IDLE_S, "--max-streams", 400, "--drain", 5]


class Soak:
    """All clients of a server."""

    def __init__(self, server, seed, log):
        self.server, self.seed, self.log = server, seed, log
        self.stop = threading.Event()
        self.counts, self.faults = Counter(), []
        self.samples = [speech(seconds, seed=seconds) for seconds in (3, 6, 10)]
        self.recording = speech(20, seed=77)
        self.expected = [recognize(server.ws, samples) for samples in self.samples]
        self.expected_upload = transcribe(server.http, self.recording)
        assert self.expected_upload[0] == 200, self.expected_upload
        assert all(any(text for text, _ in finals) for finals in self.expected), self.expected

    def start(self):
        """Start every kind of client in a thread of its own."""
        kinds = [(self.compare_stream, i) for i in range(len(self.samples))]
        kinds += [(self.compare_upload, 0), (self.malformed, 1), (self.malformed, 2), (self.vanish, 3)]
        kinds += [(self.burst, 4), (self.hold, 5), (self.large_uploads, 6)]
        threads = [threading.Thread(target=self.repeat, args=kind) for kind in kinds]
        for thread in threads:
            thread.start()
        return threads

    def repeat(self, attack, number):
        rng = np.random.default_rng([self.seed, number])
        while not self.stop.is_set():
            try:
                attack(rng, number)
            except ServerIsFullError:
                self.counts["refused"] += 1
                self.stop.wait(0.5)
            except Exception:
                self.faults.append(f"{attack.__name__}: {traceback.format_exc()}")
                self.stop.wait(1)

    def compare_stream(self, _, number):
        found = recognize(self.server.ws, self.samples[number])
        self.counts["streams compared"] += 1
        if found != self.expected[number]:
            self.faults.append(f"a stream has other texts: {found} instead of {self.expected[number]}")
        self.stop.wait(1)

    def compare_upload(self, *_):
        found = transcribe(self.server.http, self.recording)
        if found[0] == 503:
            self.counts["refused"] += 1
        else:
            self.counts["uploads compared"] += 1
            if found != self.expected_upload:
                self.faults.append(f"an upload has another text: {found} instead of {self.expected_upload}")
        self.stop.wait(2)

    def malformed(self, rng, _):
        self.counts["malformed"] += send_malformed(self.server.port, rng, 100)
        self.stop.wait(0.2)

    def vanish(self, rng, _):
        self.counts["vanished"] += vanish(self.server.port, rng, 5)
        self.stop.wait(0.5)

    def burst(self, *_):
        self.counts["burst"] += connect_at_once(self.server.port, 200)
        self.stop.wait(20)

    def hold(self, rng, _):
        with held_connections(self.server.port, rng, 20):
            self.stop.wait(2 * IDLE_S)
        self.counts["held"] += 20

    def large_uploads(self, *_):
        statuses = upload_in_parallel(self.server.port, 4, 100_000_000)
        self.counts["100 MB"] += len(statuses)
        wrong = [status for status in statuses if not 400 <= status < 500 and status != 503]
        if wrong:
            self.faults.append(f"uploads of noise were answered with {wrong}")
        self.stop.wait(10)


def start_server(exp, log):
    """A server whose log is a file."""
    command = [sys.executable, "-m", "ds2cli", "serve", str(exp), *map(str, OPTIONS)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log.open("wb"))
    deadline = time.monotonic() + 120
    while not (found := re.search(r"https?://[^ ]*:(\d+)", log.read_text())):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return RunningServer(process, int(found[1]), "")


def settle(pid, before):
    """What the server holds when the connections of the attacks have ended."""
    deadline = time.monotonic() + 4 * IDLE_S
    while (now := measure(pid)).files > before.files and time.monotonic() < deadline:
        time.sleep(0.5)
    return now


def show(minutes, held, server, counts):
    print(
        f"{minutes:7.1f} {held.memory_mb:9.1f} {held.children_mb:9.1f} {held.files:6d} {held.threads:8d} "
        f"{counts['streams compared']:8d} {counts['uploads compared']:8d} {counts['malformed']:10,d} "
        f"{counts['vanished']:9,d} {counts['burst']:8,d} {counts['held']:6,d} {counts['100 MB']:7d}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--exp", help="experiment or bundle [default: a small network that writes nonsense]")
    parser.add_argument("--every", type=float, default=60.0, help="time between two rows of the table (s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ds2-soak-") as folder:
        exp = options.exp or Path(folder, "nonsense")
        if options.exp is None:
            write_network(exp)
        log = Path(folder, "log")
        server = start_server(exp, log)
        try:
            faults = run(server, log, options)
        finally:
            if server.process.poll() is None:
                server.process.kill()
    for fault in faults[:10]:
        print(f"FAILED: {fault}", file=sys.stderr)
    print(f"soak: {len(faults)} faults")
    sys.exit(1 if faults else 0)


def run(server, log, options):
    """Everything for the given time: what went wrong."""
    pid = server.process.pid
    print(
        "minutes memory MB  children  files  threads  streams  uploads  malformed  vanished    burst   held  100 MB",
        flush=True,
    )
    warm_up = min(60.0, 6 * options.minutes)
    start = time.monotonic()
    soak = Soak(server, options.seed, log)
    # what is allocated once is no growth: everything happens once before
    before = measure_after(soak, pid, warm_up)
    show((time.monotonic() - start) / 60, before, server, soak.counts)
    end = start + 60 * options.minutes
    peak = before
    soak.stop.clear()
    threads = soak.start()
    shown = time.monotonic()
    while time.monotonic() < end and server.process.poll() is None:
        time.sleep(1)
        now = measure(pid)
        peak = dataclasses.replace(now, memory_mb=max(now.memory_mb, peak.memory_mb))
        if time.monotonic() > shown + options.every:
            shown = time.monotonic()
            show((shown - start) / 60, now, server, soak.counts)
    soak.stop.set()
    for thread in threads:
        thread.join()
    after = settle(pid, before)
    show((time.monotonic() - start) / 60, after, server, soak.counts)
    faults = soak.faults
    print(f"before {before}\nafter  {after}\nlargest memory between {peak.memory_mb:.1f} MB", flush=True)
    if after.memory_mb > before.memory_mb + MEMORY_MB or after.children_mb > before.children_mb + MEMORY_MB:
        faults.append(f"memory has grown by more than {MEMORY_MB} MB: {before}, {after}")
    if after.files > before.files or after.threads > before.threads + POOL_THREADS:
        faults.append(f"files or threads are left: {before}, {after}")
    if server.process.poll() is not None:
        faults.append(f"the server has ended with status {server.process.returncode}")
    else:
        server.process.terminate()
        if (status := server.process.wait(60)) != 0:
            faults.append(f"the server ended with status {status}")
    text = log.read_text("utf-8", "replace")
    faults += [line for line in text.splitlines() if "error:" in line or "Traceback" in line][:10]
    return faults


def measure_after(soak, pid, seconds):
    """What the server holds after all attacks have run for a while and have ended."""
    threads = soak.start()
    time.sleep(seconds)
    soak.stop.set()
    for thread in threads:
        thread.join()
    time.sleep(2 * IDLE_S)
    return measure(pid)


if __name__ == "__main__":
    main()
