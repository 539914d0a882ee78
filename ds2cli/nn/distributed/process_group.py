"""Processes that train together: each takes its share of every batch, gradients are summed over all (paper §4.1)."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import connection, util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from ds2cli.errors import Ds2Error
from ds2cli.processes import kill, start_ignoring_signals

WAIT = timedelta(minutes=30)
"""Longest wait for the others; all have like work to do, so one that takes longer is gone."""

GRACE = timedelta(seconds=3)
"""Wait for what a process that has ended may have sent before: gloo does not always notice that nothing comes."""


class PeerLostError(Ds2Error):
    """Another process of the group ended early."""


@dataclass
class ProcessGroup:
    """This process's place among `size` of them; rank 0 is the one that writes and speaks."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _children: list[Any] = field(default_factory=list)
    _rendezvous_dir: Path | None = None
    _threads: int = 0
    _broken: bool = False

    def shard(self, items: list[Any]) -> list[Any]:
        """Every size-th item: of rows sorted by length each process gets an equal part."""
        return items[self.rank :: self.size]

    def all_reduce(self, flat: Tensor) -> Tensor:
        """Sum `flat` over the processes, in place. PeerLostError when one of them has gone."""
        self.wait(self.all_reduce_async(flat))
        return flat

    def all_reduce_async(self, flat: Tensor) -> Any:
        """Begin to sum `flat` over the processes in place, until `wait`. PeerLostError when one of them has gone."""
        if self.size == 1:
            return None
        try:
            return distributed.all_reduce(flat, async_op=True)
        except RuntimeError as e:
            raise self._gone(e) from e

    def wait(self, work: Any) -> None:
        """Until what `all_reduce_async` began is done. PeerLostError when one of the processes has gone."""
        if work is None:
            return
        try:
            # NCCL's works end when they are queued, and it looks after its processes itself
            while self._children and self.device.type == "cpu" and not work.is_completed():
                gone = self._ended()
                try:
                    work.wait(GRACE)
                except RuntimeError:
                    if gone:
                        raise
            work.wait()
        except RuntimeError as e:
            raise self._gone(e) from e

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the values that rank 0 has, in place. PeerLostError when one of them has gone."""
        if self.size > 1:
            try:
                for tensor in tensors:
                    self.wait(distributed.broadcast(tensor, 0, async_op=True))
            except RuntimeError as e:
                raise self._gone() from e

    def all_gather(self, found: dict[str, Any]) -> dict[str, Any]:
        """What all processes found, in rank order. PeerLostError when one of them has gone."""
        if self.size == 1:
            return found
        parts: list[dict[str, Any]] = [{} for _ in range(self.size)]
        # a sum finds out about a process that has gone, also where gloo does not
        self.all_reduce(torch.zeros(1))
        try:
            distributed.all_gather_object(parts, found)
        except RuntimeError as e:
            raise self._gone(e) from e
        return {name: value for part in parts for name, value in part.items()}

    def broadcast_object(self, value: Any) -> Any:
        """What rank 0 has to say. PeerLostError when one of the processes has gone."""
        if self.size == 1:
            return value
        box = [value]
        self.all_reduce(torch.zeros(1))
        try:
            distributed.broadcast_object_list(box, 0)
        except RuntimeError as e:
            raise self._gone(e) from e
        return box[0]

    def _ended(self) -> bool:
        return any(child.exitcode is not None for child in self._children)

    def _gone(self, e: Exception | None = None) -> Ds2Error:
        """What the process that has gone left as its reason; PeerLostError when it did not come to that."""
        self._broken = True
        for reason in sorted(self._rendezvous_dir.glob("*.failed")) if self._rendezvous_dir else ():
            return Ds2Error(reason.read_text("utf-8"))
        said = e is not None and (self.device.type == "cuda" or not self._children)
        why = ": " + " ".join(str(e).split())[:200] if said else ""
        return PeerLostError(
            f"train: one of the {self.size} processes ended early{why} (the same command goes on from last.pt)"
        )

    def close(self) -> None:
        """Leave the group and wait for the processes that rank 0 started."""
        if distributed.is_initialized():
            if self._broken:
                _leak_backends(self.device)
            distributed.destroy_process_group()
        if self._threads:
            torch.set_num_threads(self._threads)
        for child in self._children:
            child.join(5)
        kill(self._children)
        if self._rendezvous_dir is not None:
            shutil.rmtree(self._rendezvous_dir, ignore_errors=True)

    def _rendezvous(self) -> None:
        """Until all processes that rank 0 started have come as far as to join the group."""
        assert self._rendezvous_dir is not None
        while len(list(self._rendezvous_dir.glob("*.ready"))) < len(self._children):
            if self._ended():
                raise self._gone()
            time.sleep(0.01)


def torchrun_rank(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Rank and size where torchrun or a scheduler that sets the same variables started this process, else None."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return None
    return int(environment["RANK"]), int(environment["WORLD_SIZE"])


def join_torchrun(device: torch.device) -> ProcessGroup:
    """The group of the processes that torchrun started, this one among them."""
    rank, size = torchrun_rank() or (0, 1)
    device = _device_of_rank(device.type, int(os.environ.get("LOCAL_RANK", rank)))
    store = next(distributed.rendezvous("env://", timeout=WAIT))[0]  # type: ignore[attr-defined]
    if os.environ.get("LOCAL_WORLD_SIZE") == str(size):
        # torchrun keeps its store when it starts processes again, and in it where those before them could be reached
        start_number = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = distributed.PrefixStore(f"start {start_number}", store)  # type: ignore[attr-defined]
    distributed.init_process_group(_backend(device), store=store, rank=rank, world_size=size, timeout=WAIT)
    return ProcessGroup(rank, size, device)


def start(size: int, device: torch.device, work: Callable[..., None], arguments: Iterable[Any]) -> ProcessGroup:
    """Start `size - 1` more processes that run `work(*arguments, group)`; return this one's group.

    `work` must be importable. The cores of the machine are divided among the processes; with "cuda" each has a device
    of its own. PeerLostError, or the Ds2Error of one of them, when it does not come that far.
    """
    if size == 1:
        return ProcessGroup(device=device)
    threads = max(1, len(os.sched_getaffinity(0)) // size if hasattr(os, "sched_getaffinity") else 1)
    # a private folder and the loopback interface: nobody else on the network can join in
    rendezvous_dir = Path(tempfile.mkdtemp(prefix="ds2-train-"))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    context = multiprocessing.get_context("spawn")
    # no daemons: each may have processes of its own that read
    children = [
        context.Process(target=_child, args=(rank, size, rendezvous_dir, threads, device.type, work, tuple(arguments)))
        for rank in range(1, size)
    ]
    group = ProcessGroup(0, size, device, children, rendezvous_dir, torch.get_num_threads())
    # Python would wait for them where an error ends it before it comes to `close`
    util.Finalize(group, kill, (children,), exitpriority=1)
    try:
        # what asks all of a job's processes to end, or to save, is left to rank 0, which does it for all of them
        start_ignoring_signals(children)
        torch.set_num_threads(threads)
        group.device = _device_of_rank(device.type, 0)
        group._rendezvous()
        _join(0, size, rendezvous_dir, group.device)
    except BaseException:
        kill([child for child in children if child.pid is not None])
        shutil.rmtree(rendezvous_dir, ignore_errors=True)
        raise
    return group


def _child(
    rank: int,
    size: int,
    rendezvous_dir: Path,
    threads: int,
    device: str,
    work: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        group = ProcessGroup(rank, size, _device_of_rank(device, rank))
        (rendezvous_dir / f"{rank}.ready").touch()
        _join(rank, size, rendezvous_dir, group.device)
        work(*arguments, group)
    except PeerLostError:
        os._exit(1)
    except Ds2Error as e:
        (rendezvous_dir / f"{rank}.failed").write_text(str(e), "utf-8")
        os._exit(1)
    group.close()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _leak_backends(device: torch.device) -> None:
    """Keep what sums from its end, in which it waits for what is under way: with a process gone that never comes."""
    for kind in {"cpu", device.type}:
        backend = distributed.group.WORLD._get_backend(torch.device(kind))  # type: ignore[union-attr]
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(backend))


def _device_of_rank(kind: str, index: int) -> torch.device:
    """The device of a process, one of several GPUs among them."""
    if kind != "cuda":
        return torch.device(kind)
    index %= torch.cuda.device_count()
    torch.cuda.set_device(index)
    return torch.device(kind, index)


def _join(rank: int, size: int, rendezvous_dir: Path, device: torch.device) -> None:
    store = distributed.FileStore(str(rendezvous_dir / "store"), size)  # type: ignore[attr-defined]
    distributed.init_process_group(_backend(device), store=store, rank=rank, world_size=size, timeout=WAIT)


def _backend(device: torch.device) -> str:
    """What sums: NCCL between GPUs; objects and dev counts go through gloo there, too."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
