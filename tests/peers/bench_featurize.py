"""Benchmark of `ds2 featurize`: from FLAC files to archives, rows and statistics, with the start of the processes.

The recordings are the FLAC files below FOLDER, repeated under other ids until they have that many hours. Each run is a
command of its own, and its result is written to a folder of its own. Prints a Markdown table:

    s             wall time: the best of the rounds
    x real time   seconds of audio per second of it
    CPU s/h       processor time of all processes per hour of audio; x per core: seconds of audio per second of that
    MiB           highest memory of a process
    MB, disk s    size of the archives, and the time that writing as many bytes to the same disk takes

and before it what decoding alone takes, and decoding with features, in one process and without ds2. The goal is 2000 x
real time on 2 cores with at most 200 MB per process. Without --compress the disk may be the limit: the archives of an
hour have 230 MB, which must be on disk before the command ends (--folder /dev/shm leaves the disk out).

    make bench-featurize
    python tests/peers/bench_featurize.py [--hours 1,5] [--rounds 3] [--nj 1,2] [--folder DIR] [--data FOLDER]

FOLDER is by default LibriSpeech in the folder DS2_TEST_DATA (../shared/data); without it nothing runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DS2_TEST_DATA", ROOT.parent / "shared" / "data")) / "LibriSpeech"
GOAL_SPEED, GOAL_BYTES = 2000, 200e6


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", default="1,5")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nj", default="1,2")
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    files = sorted(options.data.rglob("*.flac"))
    if not files:
        print(f"skipped: no FLAC files in {options.data} (--data FOLDER, or DS2_TEST_DATA)")
        return
    recordings = [(str(path.resolve()), soundfile.info(path).duration) for path in files]
    print(f"load {os.getloadavg()[0]:.2f} at the start; {os.cpu_count()} cores; archives in {options.folder}\n")
    print_parts(recordings)
    print("\n| hours | options | s | x real time | CPU s/h | x per core | MiB | MB | disk s |")
    print("|--:|:--|--:|--:|--:|--:|--:|--:|--:|")
    reached, peak = {}, 0.0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for hours in map(float, options.hours.split(",")):
            seconds = write_manifest(Path(folder, "in.jsonl"), recordings, 3600 * hours)
            for nj in map(int, options.nj.split(",")):
                for compress in ([], ["--compress"]):
                    name = f"--nj {nj} {' '.join(compress)}".strip()
                    runs = [run(Path(folder), [*compress, "--nj", str(nj)]) for _ in range(options.rounds)]
                    wall, cpu, memory, size = min(runs)
                    peak = max(peak, *(run[2] for run in runs))
                    disk = write_bytes(Path(folder, "disk"), size)
                    cells = [f"{seconds / 3600:.2f}", name, f"{wall:.2f}", f"{seconds / wall:.0f}"]
                    cells += [f"{3600 * cpu / seconds:.2f}", f"{seconds / cpu:.0f}", f"{memory / 2**20:.0f}"]
                    print(f"| {' | '.join([*cells, f'{size / 1e6:.0f}', f'{disk:.2f}'])} |", flush=True)
                    reached[hours, name] = seconds / wall
    best, are_met = max(reached.values()), (max(reached.values()) >= GOAL_SPEED, peak <= GOAL_BYTES)
    words = ["met" if is_met else "missed" for is_met in are_met]
    print(f"\nbest: {best:.0f} x real time (goal {GOAL_SPEED}: {words[0]})")
    print(f"memory: {peak / 1e6:.0f} MB per process (goal {GOAL_BYTES / 1e6:.0f}: {words[1]})")


def write_manifest(path: Path, recordings: list[tuple[str, float]], seconds: float) -> float:
    """Write rows of at least that many seconds; returns how many they have."""
    total, count = 0.0, 0
    with path.open("w") as f:
        while total < seconds:
            name, duration = recordings[count % len(recordings)]
            row = {"id": f"u{count:07}", "audio_filepath": name, "duration": duration, "text": "some words of a text"}
            f.write(json.dumps(row) + "\n")
            total, count = total + duration, count + 1
    return total


def run(folder: Path, options: list[str]) -> tuple[float, float, float, int]:
    """Wall and processor time (s) of a command, highest memory of a process and size of the archives (bytes)."""
    command = [sys.executable, "-m", "ds2cli", "featurize", "in.jsonl", "out.jsonl", "--dir", "feats", *options]
    for path in folder.glob("feats/*"):
        path.unlink()
    os.sync()
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, errors.decode()
    size = sum(path.stat().st_size for path in folder.glob("feats/*"))
    # the highest of the command and the processes that it has waited for
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, size


def write_bytes(path: Path, size: int) -> float:
    """The time (s) that a file of this size takes to be on disk."""
    data = bytes(1 << 20)
    os.sync()
    began = time.perf_counter()
    with path.open("wb", buffering=0) as f:
        for _ in range(-(-size // len(data))):
            f.write(data)
        os.fsync(f.fileno())
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds


def print_parts(recordings: list[tuple[str, float]]) -> None:
    """What the parts of the work take, as processor time of one thread per hour of audio."""
    import scipy.fft

    window = np.hanning(320).astype(np.float32)

    def decode(path: str) -> NDArray[np.float32]:
        return np.asarray(soundfile.read(path, dtype="float32")[0])

    def compute(path: str) -> None:
        frames = np.lib.stride_tricks.sliding_window_view(decode(path), 320)[::160] * window
        np.log(np.abs(scipy.fft.rfft(frames, axis=1)) ** 2 + np.float32(1e-14))

    works: dict[str, Callable[[str], object]] = {"decode (soundfile)": decode, "decode, scipy.fft, log": compute}
    for name, work in works.items():
        began = time.process_time()
        for path, _ in recordings:
            work(path)
        hours = sum(duration for _, duration in recordings) / 3600
        print(f"{name}: {(time.process_time() - began) / hours:.2f} CPU s/h")


if __name__ == "__main__":
    main()
