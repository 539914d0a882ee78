"""A training step of `ds2 train` on the CPU beside other processes that want a core, with several ways of waiting.

Each row is a process of its own that trains on noise shaped like the recipe's batches, first on the quiet machine and
then beside `--busy` endless loops; the environment variable says how OpenMP's threads wait for one another.

    quiet, busy    ms per step, the median          cost    busy / quiet

    python native/bench/bench_contention.py [--recipe egs/asterisk] [--threads 1 2] [--busy 1] [--seconds 8]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

WAITS: dict[str, dict[str, str]] = {
    "passive, as ds2 sets it": {"OMP_WAIT_POLICY": "passive"},
    "GOMP_SPINCOUNT=300000, torch's default": {"GOMP_SPINCOUNT": "300000"},
    "GOMP_SPINCOUNT=500": {"GOMP_SPINCOUNT": "500"},
}
"""Environments; GOMP_SPINCOUNT has precedence over OMP_WAIT_POLICY."""


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Processes that compute without a pause."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def time_steps(arguments: argparse.Namespace, threads: int, environment: dict[str, str]) -> float:
    """Median ms of a step, in another process."""
    command = [sys.executable, __file__, "--child", str(threads), "--recipe", arguments.recipe]
    command += ["--seconds", str(arguments.seconds), "--precision", arguments.precision]
    env = {**os.environ, **environment}
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return float(done.stdout)


def run_child(arguments: argparse.Namespace) -> None:
    """Train for some seconds and print the median ms of a step."""
    import torch
    from bench_train import PRECISIONS, TimedTraining
    from training_batches import make_noise_batches

    from ds2cli.config.base import build, read_toml
    from ds2cli.config.train import TrainConfig

    torch.set_num_threads(arguments.child)
    conf = f"{arguments.recipe}/conf/train.toml"
    config = build(TrainConfig, (conf, read_toml(conf)))
    symbols, bins, batches = make_noise_batches(config)
    training = TimedTraining("ds2", config, symbols, bins, PRECISIONS[arguments.precision])
    times = []
    # the same few batches in every run
    rounds = [next(batches) for _ in range(12)]
    for batch in rounds:
        training.step(batch)
    end = time.perf_counter() + arguments.seconds
    while time.perf_counter() < end:
        total = time.perf_counter()
        for batch in rounds:
            training.step(batch)
        times.append((time.perf_counter() - total) / len(rounds))
    print(1000 * statistics.median(times))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="egs/asterisk", help="folder with conf/train.toml")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to time")
    parser.add_argument("--busy", type=int, default=1, help="number of endless loops")
    parser.add_argument("--seconds", type=float, default=8.0, help="time per figure")
    parser.add_argument("--precision", default="float32", help="float32 or bfloat16")
    parser.add_argument("--waits", nargs="+", default=list(WAITS), choices=WAITS, help="ways of waiting")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_child(arguments)
        return
    print("| threads | waiting | quiet, ms | busy, ms | cost |\n|--:|:--|--:|--:|--:|")
    for threads in arguments.threads:
        for name in arguments.waits:
            quiet = time_steps(arguments, threads, WAITS[name])
            with busy_loops(arguments.busy):
                busy = time_steps(arguments, threads, WAITS[name])
            print(f"| {threads} | {name} | {quiet:.1f} | {busy:.1f} | {busy / quiet:.2f} |", flush=True)


if __name__ == "__main__":
    main()
