"""The time that this process spends compiling kernels: `_jit.py` reports it, progress lines read it. No numba here."""

from __future__ import annotations

import time
from collections.abc import Callable

on_first: Callable[[], None] | None = None
"""Called once, when the first kernel of this process starts to compile."""

_state: tuple[int, float, float] = 0, 0.0, 0.0
"""Kernels that are compiling (each for the one that calls it), start of the outermost (s), seconds before it.

Numba compiles in one thread at a time; the tuple is replaced as a whole, so other threads read a consistent state.
"""


def begin() -> None:
    """A kernel starts to compile."""
    global _state, on_first
    depth, started, before = _state
    _state = (depth + 1, started if depth else time.monotonic(), before)
    notify, on_first = on_first, None
    if notify is not None:
        notify()


def end() -> None:
    """The kernel that started last is compiled."""
    global _state
    depth, started, before = _state
    _state = (depth - 1, started, before if depth > 1 else before + time.monotonic() - started)


def seconds() -> float:
    """The time spent so far (s), including a compilation that is under way."""
    depth, started, before = _state
    return before + time.monotonic() - started if depth else before


def working_clock() -> float:
    """A monotonic clock (s) that stands still while a kernel compiles: for rates and forecasts of what follows."""
    return time.monotonic() - seconds()
