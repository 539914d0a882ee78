"""Processes that train together: each takes its share of every batch, gradients are summed over all (paper §4.1)."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from ds2cli.errors import Ds2Error

WAIT = timedelta(minutes=30)
"""Longest wait for the others; all have like work to do, so one that takes longer is gone."""


class GoneError(Ds2Error):
    """Another process of the group ended early."""


@dataclass
class Group:
    """This process's place among `size` of them; rank 0 is the one that writes and speaks."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _children: list[Any] = field(default_factory=list)
    _meeting: str | None = None

    def share(self, items: list[Any]) -> list[Any]:
        """Every size-th item: of rows sorted by length each process gets an equal part."""
        return items[self.rank :: self.size]

    def add(self, flat: Tensor) -> Tensor:
        """Sum `flat` over the processes, in place. GoneError when one of them has gone."""
        self.wait(self.add_later(flat))
        return flat

    def add_later(self, flat: Tensor) -> Any:
        """Begin to sum `flat` over the processes in place, until `wait`. GoneError when one of them has gone."""
        if self.size == 1:
            return None
        try:
            return distributed.all_reduce(flat, async_op=True)
        except RuntimeError as e:
            raise self._gone() from e

    def wait(self, work: Any) -> None:
        """Until what `add_later` began is done. GoneError when one of the processes has gone."""
        if work is None:
            return
        try:
            work.wait()
        except RuntimeError as e:
            raise self._gone() from e

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the values that rank 0 has, in place. GoneError when one of them has gone."""
        if self.size > 1:
            try:
                for tensor in tensors:
                    distributed.broadcast(tensor, 0)
            except RuntimeError as e:
                raise self._gone() from e

    def together(self, found: dict[str, Any]) -> dict[str, Any]:
        """What all processes found, in rank order. GoneError when one of them has gone."""
        if self.size == 1:
            return found
        parts: list[dict[str, Any]] = [{} for _ in range(self.size)]
        try:
            distributed.all_gather_object(parts, found)
        except RuntimeError as e:
            raise self._gone() from e
        return {name: value for part in parts for name, value in part.items()}

    def told(self, value: Any) -> Any:
        """What rank 0 has to say. GoneError when one of the processes has gone."""
        if self.size == 1:
            return value
        box = [value]
        try:
            distributed.broadcast_object_list(box, 0)
        except RuntimeError as e:
            raise self._gone() from e
        return box[0]

    def _gone(self) -> GoneError:
        return GoneError(f"train: one of the {self.size} processes ended early, the same command goes on")

    def close(self) -> None:
        """Leave the group and wait for the processes that rank 0 started."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()
        for child in self._children:
            child.join(5)
            if child.is_alive():
                child.kill()
                child.join()
        if self._meeting is not None:
            shutil.rmtree(self._meeting, ignore_errors=True)


def launched(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Rank and size where torchrun or a scheduler that sets the same variables started this process, else None."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return None
    return int(environment["RANK"]), int(environment["WORLD_SIZE"])


def join_launched(device: torch.device) -> Group:
    """The group of the processes that torchrun started, this one among them."""
    rank, size = launched() or (0, 1)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    distributed.init_process_group(_backend(device), timeout=WAIT)
    return Group(rank, size, device)


def start(size: int, device: torch.device, work: Callable[..., None], arguments: Iterable[Any]) -> Group:
    """Start `size - 1` more processes that run `work(*arguments, group)`; return this one's group.

    `work` must be importable. The cores of the machine are divided among the processes; with "cuda" each has a device
    of its own.
    """
    if size == 1:
        return Group(device=device)
    threads = max(1, len(os.sched_getaffinity(0)) // size if hasattr(os, "sched_getaffinity") else 1)
    # a private folder and the loopback interface: nobody else on the network can join in
    meeting = tempfile.mkdtemp(prefix="ds2-train-")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    context = multiprocessing.get_context("spawn")
    # no daemons: each may have processes of its own that read
    children = [
        context.Process(target=_child, args=(rank, size, meeting, threads, device.type, work, tuple(arguments)))
        for rank in range(1, size)
    ]
    for child in children:
        child.start()
    torch.set_num_threads(threads)
    return Group(0, size, _join(0, size, meeting, device.type), children, meeting)


def _child(
    rank: int,
    size: int,
    meeting: str,
    threads: int,
    device: str,
    work: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    # what asks all of a job's processes to end, or to save, reaches rank 0, which does it for all of them
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(threads)
    group = Group(rank, size, _join(rank, size, meeting, device))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        work(*arguments, group)
    except Ds2Error:
        os._exit(1)
    group.close()


def _join(rank: int, size: int, meeting: str, kind: str) -> torch.device:
    store = distributed.FileStore(os.path.join(meeting, "store"), size)  # type: ignore[attr-defined]
    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(_backend(device), store=store, rank=rank, world_size=size, timeout=WAIT)
    return device


def _backend(device: torch.device) -> str:
    """What sums: NCCL between GPUs; objects and dev counts go through gloo there, too."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
