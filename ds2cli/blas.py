"""Loads parts of SciPy where there is the memory for its OpenBLAS.

OpenBLAS reserves memory when it is loaded. Where there is none, it tries again without an end, and no signal but
SIGKILL ends that. numba would load it too, and take 0.2 s for it, only to find out whether it is there.
"""

from __future__ import annotations

import importlib
import mmap
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ds2cli import memory

ROOM = 200_000_000
"""Bytes that must be there: 120 MB were enough, with less it waited."""

_THREADS = "OPENBLAS_NUM_THREADS"
_lock = threading.Lock()
_loaded = False


def load_scipy(name: str) -> Any:
    """The module `scipy.NAME`; MemoryError if memory, or its limit for this process, has no room for the first one."""
    global _loaded
    # it has an OpenBLAS of its own, whose threads are of use
    importlib.import_module("numpy")
    with _lock:
        if _loaded:
            return importlib.import_module(f"scipy.{name}")
        _require_room()
        before = os.environ.get(_THREADS)
        # each thread reserves 40 MB, and what is used of SciPy needs none of them
        os.environ[_THREADS] = "1"
        try:
            module = importlib.import_module(f"scipy.{name}")
        finally:
            del os.environ[_THREADS]
            if before is not None:
                os.environ[_THREADS] = before
        _loaded = True
    return module


@contextmanager
def without_linalg() -> Iterator[None]:
    """A block in which the import of `scipy.linalg` fails, unless it was imported before.

    For a library that does without its functions where there are none.
    """
    name = "scipy.linalg"
    with _lock:
        if name in sys.modules:
            yield
            return
        # None makes the import fail
        sys.modules[name] = None  # type: ignore[assignment]
        try:
            yield
        finally:
            del sys.modules[name]


def _require_room() -> None:
    with memory.needed(ROOM, "SciPy and its OpenBLAS"):
        try:
            mmap.mmap(-1, ROOM).close()
        except OSError as e:
            raise MemoryError from e
