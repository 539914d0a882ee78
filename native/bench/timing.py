"""Several pieces of work timed in turn, so that what disturbs a machine for a while disturbs them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch


class Time(NamedTuple):
    """The quickest run and the median of all (ms)."""

    best: float
    median: float


STRETCH = 0.05
"""Seconds of one piece of work before it is another's turn: what that one left behind (threads that still spin, a cold
cache) is over with the first run, which is not counted."""


def in_turn(works: dict[str, Callable[[], object]], seconds: float) -> dict[str, Time]:
    """Times of each, about `seconds` for each and at least three runs.

    One thread is timed by the processor's clock, which others on the machine disturb less, and several by the wall's.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in works}
    end = time.perf_counter() + seconds * len(works)
    while time.perf_counter() < end or min(map(len, times.values())) < 3:
        for name, work in works.items():
            work()
            stop = time.perf_counter() + STRETCH
            while time.perf_counter() < stop:
                start = clock()
                work()
                times[name].append(1e3 * (clock() - start))
    return {name: Time(min(found), statistics.median(found)) for name, found in times.items()}
