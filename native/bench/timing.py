"""Times several workloads in turn, so that a temporary disturbance of the machine affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch


class Timing(NamedTuple):
    """The fastest and the median run (ms)."""

    best: float
    median: float


SLICE_S = 0.05
"""Seconds per turn of a workload. Its first run, which is not counted, absorbs what the previous workload left behind:
threads that still spin, a cold cache."""


def time_interleaved(workloads: dict[str, Callable[[], object]], seconds: float) -> dict[str, Timing]:
    """Time each workload for about `seconds`, with at least three runs.

    With one thread this is CPU time, which other processes disturb less; with several it is wall-clock time.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times_ms: dict[str, list[float]] = {name: [] for name in workloads}
    end = time.perf_counter() + seconds * len(workloads)
    while time.perf_counter() < end or min(map(len, times_ms.values())) < 3:
        for name, run in workloads.items():
            run()
            stop = time.perf_counter() + SLICE_S
            while time.perf_counter() < stop:
                start = clock()
                run()
                times_ms[name].append(1e3 * (clock() - start))
    return {name: Timing(min(runs), statistics.median(runs)) for name, runs in times_ms.items()}
