"""Processes that train together: each takes its share of every batch, gradients are summed over all (paper §4.1)."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from ds2cli.errors import Ds2Error

WAIT = timedelta(minutes=30)
"""Longest wait for the others; all have like work to do, so one that takes longer is gone."""


@dataclass
class Group:
    """This process's place among `size` of them; rank 0 is the one the user started."""

    rank: int = 0
    size: int = 1
    _children: list[Any] = field(default_factory=list)
    _meeting: str | None = None

    def share(self, items: list[Any]) -> list[Any]:
        """Every size-th item: of rows sorted by length each process gets an equal part."""
        return items[self.rank :: self.size]

    def add(self, flat: Tensor) -> Tensor:
        """Sum `flat` over the processes, in place. Ds2Error when one of them has gone."""
        if self.size > 1:
            try:
                distributed.all_reduce(flat)
            except RuntimeError as e:
                raise self._gone() from e
        return flat

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the values that rank 0 has, in place. Ds2Error when one of them has gone."""
        if self.size > 1:
            try:
                for tensor in tensors:
                    distributed.broadcast(tensor, 0)
            except RuntimeError as e:
                raise self._gone() from e

    def together(self, found: dict[str, str]) -> dict[str, str]:
        """What all processes found, in rank order."""
        if self.size == 1:
            return found
        parts: list[dict[str, str]] = [{} for _ in range(self.size)]
        distributed.all_gather_object(parts, found)
        return {name: why for part in parts for name, why in part.items()}

    def _gone(self) -> Ds2Error:
        return Ds2Error(f"train: one of the {self.size} processes ended early, the same command goes on")

    def close(self) -> None:
        """Leave the group and wait for the processes that rank 0 started."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()
        for child in self._children:
            child.join(5)
            if child.is_alive():
                child.kill()
        if self._meeting is not None:
            shutil.rmtree(self._meeting, ignore_errors=True)


def start(size: int, work: Callable[..., None], arguments: Iterable[Any]) -> Group:
    """Start `size - 1` more processes that run `work(*arguments, group)`; return this one's group.

    `work` must be importable. The cores of the machine are divided among the processes.
    """
    if size == 1:
        return Group()
    threads = max(1, len(os.sched_getaffinity(0)) // size if hasattr(os, "sched_getaffinity") else 1)
    # a private folder and the loopback interface: nobody else on the network can join in
    meeting = tempfile.mkdtemp(prefix="ds2-train-")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=_child, args=(rank, size, meeting, threads, work, tuple(arguments)), daemon=True)
        for rank in range(1, size)
    ]
    for child in children:
        child.start()
    torch.set_num_threads(threads)
    _join(0, size, meeting)
    return Group(0, size, children, meeting)


def _child(
    rank: int, size: int, meeting: str, threads: int, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    import signal

    # Ctrl-C reaches every process of the terminal: rank 0 decides for all of them
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    _join(rank, size, meeting)
    # a scheduler asks all of a job's processes to end: rank 0 does, and writes what it takes to go on
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    group = Group(rank, size)
    try:
        work(*arguments, group)
    except Ds2Error:
        os._exit(1)
    group.close()


def _join(rank: int, size: int, meeting: str) -> None:
    store = distributed.FileStore(os.path.join(meeting, "store"), size)  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=WAIT)
