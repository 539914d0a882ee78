"""What a server process holds: memory, open files, threads, also those of its children."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Held:
    """memory_mb: resident, of the process.  children_mb: of its children.  files, threads: their number."""

    memory_mb: float
    children_mb: float
    files: int
    threads: int


def measure(pid):
    """What a process holds now."""
    folder = Path(f"/proc/{pid}")
    children = []
    for task in folder.glob("task/*/children"):
        with contextlib.suppress(OSError):
            children += task.read_text().split()
    files = len(list(folder.glob("fd/*")))
    return Held(_memory_mb(pid), sum(map(_memory_mb, children)), files, len(list(folder.glob("task/*"))))


def _memory_mb(pid):
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
