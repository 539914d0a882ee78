"""Data-parallel process group: each process computes a shard of every batch, gradients are summed (paper §4.1)."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import sys
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

from ds2cli.atomic import temporary_folder
from ds2cli.cores import count_cores
from ds2cli.errors import Ds2Error
from ds2cli.processes import end_process, kill_processes, start_ignoring_signals

TIMEOUT = timedelta(minutes=30)
"""Longest wait for another process: all have similar work, so one that takes longer is assumed lost."""

EXIT_GRACE = timedelta(seconds=3)
"""Time for data that an exited process sent earlier to arrive; gloo does not always notice that a peer has exited."""


class PeerLostError(Ds2Error):
    """Another process of the group exited early."""


@dataclass
class ProcessGroup:
    """A group of `size` processes as seen by the process `rank`; rank 0 writes all files and messages.

    Every collective raises PeerLostError when another process has exited.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _children: list[Any] = field(default_factory=list)
    _rendezvous_dir: Path | None = None
    _files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _threads: int = 0
    _broken: bool = False

    def shard(self, items: list[Any]) -> list[Any]:
        """Every size-th item from `rank` on: an equal share of rows sorted by length."""
        return items[self.rank :: self.size]

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum `tensor` over the processes, in place."""
        self.wait(self.all_reduce_async(tensor))
        return tensor

    def all_reduce_async(self, tensor: Tensor) -> Any:
        """Start to sum `tensor` over the processes, in place; returns a handle for `wait`."""
        if self.size == 1:
            return None
        try:
            return distributed.all_reduce(tensor, async_op=True)
        except RuntimeError as e:
            raise self._peer_error(e) from e

    def wait(self, handle: Any) -> None:
        """Wait until the operation of this handle is complete."""
        if handle is None:
            return
        try:
            # NCCL's handles complete as soon as they are queued, and NCCL watches its processes itself
            while self._children and self.device.type == "cpu" and not handle.is_completed():
                exited = self._child_exited()
                try:
                    handle.wait(EXIT_GRACE)
                except RuntimeError:
                    if exited:
                        raise
            handle.wait()
        except RuntimeError as e:
            raise self._peer_error(e) from e

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copy the values of rank 0 to every process, in place."""
        if self.size > 1:
            try:
                for tensor in tensors:
                    self.wait(distributed.broadcast(tensor, 0, async_op=True))
            except RuntimeError as e:
                raise self._peer_error() from e

    def all_gather(self, part: dict[str, Any]) -> dict[str, Any]:
        """Merge the dictionaries of all processes, in rank order."""
        if self.size == 1:
            return part
        parts: list[dict[str, Any]] = [{} for _ in range(self.size)]
        # `all_reduce` detects an exited process even where gloo does not
        self.all_reduce(torch.zeros(1))
        try:
            distributed.all_gather_object(parts, part)
        except RuntimeError as e:
            raise self._peer_error(e) from e
        return {name: value for found in parts for name, value in found.items()}

    def broadcast_object(self, value: Any) -> Any:
        """The picklable value of rank 0, on every process."""
        if self.size == 1:
            return value
        box = [value]
        self.all_reduce(torch.zeros(1))
        try:
            distributed.broadcast_object_list(box, 0)
        except RuntimeError as e:
            raise self._peer_error(e) from e
        return box[0]

    def _child_exited(self) -> bool:
        return any(child.exitcode is not None for child in self._children)

    def _peer_error(self, e: Exception | None = None) -> Ds2Error:
        """The error that the exited process wrote down, or PeerLostError if it wrote none."""
        self._broken = True
        for reason in sorted(self._rendezvous_dir.glob("*.failed")) if self._rendezvous_dir else ():
            return Ds2Error(reason.read_text("utf-8"))
        with_cause = e is not None and (self.device.type == "cuda" or not self._children)
        cause = ": " + " ".join(str(e).split())[:200] if with_cause else ""
        return PeerLostError(
            f"train: one of the {self.size} processes exited early{cause} (the same command resumes from last.pt)"
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
        kill_processes(self._children)
        self._files.close()

    def _rendezvous(self) -> None:
        """Wait until all processes that rank 0 started are ready to join the group."""
        assert self._rendezvous_dir is not None
        while len(list(self._rendezvous_dir.glob("*.ready"))) < len(self._children):
            if self._child_exited():
                raise self._peer_error()
            time.sleep(0.01)


def torchrun_rank(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Rank and world size set by torchrun (or a scheduler that sets the same variables), else None."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return None
    return int(environment["RANK"]), int(environment["WORLD_SIZE"])


def join_torchrun(device: torch.device) -> ProcessGroup:
    """Join the group of the processes that torchrun started, including this one."""
    rank, size = torchrun_rank() or (0, 1)
    device = _select_device(device.type, int(os.environ.get("LOCAL_RANK", rank)))
    store = next(distributed.rendezvous("env://", timeout=TIMEOUT))[0]  # type: ignore[attr-defined]
    if os.environ.get("LOCAL_WORLD_SIZE") == str(size):
        # torchrun keeps its store across restarts, and with it the addresses of the previous processes
        start_number = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = distributed.PrefixStore(f"start {start_number}", store)  # type: ignore[attr-defined]
    distributed.init_process_group(_backend(device), store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    return ProcessGroup(rank, size, device)


def start_processes(
    size: int, device: torch.device, target: Callable[..., None], arguments: tuple[Any, ...]
) -> ProcessGroup:
    """Start `size - 1` more processes that run `target(*arguments, group)`; return the group of this one.

    `target` must be importable. The CPU cores are divided among the processes, each of which has no more threads than
    this one; with "cuda" each process has its own device. Raises the Ds2Error of a process that fails before it joins
    the group, PeerLostError if it left none.
    """
    if size == 1:
        return ProcessGroup(device=device)
    threads = max(1, min(torch.get_num_threads(), count_cores() // size))
    # a private folder and the loopback interface: nothing else on the network can join the group
    files = contextlib.ExitStack()
    rendezvous_dir = files.enter_context(temporary_folder("ds2-train-"))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    context = multiprocessing.get_context("spawn")
    # not daemons: each may start its own data-loader processes
    children = [
        context.Process(target=_run_child, args=(rank, size, rendezvous_dir, threads, device.type, target, arguments))
        for rank in range(1, size)
    ]
    group = ProcessGroup(0, size, device, children, rendezvous_dir, files, torch.get_num_threads())
    # without this, Python waits for them at exit when an error prevents `close`
    util.Finalize(group, kill_processes, (children,), exitpriority=1)
    try:
        # signals sent to every process of a job (stop, save) are handled by rank 0 for all of them
        start_ignoring_signals(children)
        torch.set_num_threads(threads)
        group.device = _select_device(device.type, 0)
        group._rendezvous()
        _init_process_group(0, size, rendezvous_dir, group.device)
    except BaseException:
        kill_processes([child for child in children if child.pid is not None])
        files.close()
        raise
    return group


def _run_child(
    rank: int,
    size: int,
    rendezvous_dir: Path,
    threads: int,
    device: str,
    target: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        group = ProcessGroup(rank, size, _select_device(device, rank))
        (rendezvous_dir / f"{rank}.ready").touch()
        _init_process_group(rank, size, rendezvous_dir, group.device)
        target(*arguments, group)
    except PeerLostError:
        os._exit(1)
    except Ds2Error as e:
        (rendezvous_dir / f"{rank}.failed").write_text(str(e), "utf-8")
        os._exit(1)
    group.close()
    end_process(0)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _leak_backends(device: torch.device) -> None:
    """Keep the backends from being destroyed: they would wait for a pending operation that never completes."""
    for kind in {"cpu", device.type}:
        backend = distributed.group.WORLD._get_backend(torch.device(kind))  # type: ignore[union-attr]
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(backend))


def _select_device(kind: str, index: int) -> torch.device:
    """The device of a process: with CUDA the GPU of this index, modulo their number."""
    if kind != "cuda":
        return torch.device(kind)
    index %= torch.cuda.device_count()
    torch.cuda.set_device(index)
    return torch.device(kind, index)


def _init_process_group(rank: int, size: int, rendezvous_dir: Path, device: torch.device) -> None:
    store = distributed.FileStore(str(rendezvous_dir / "store"), size)  # type: ignore[attr-defined]
    distributed.init_process_group(_backend(device), store=store, rank=rank, world_size=size, timeout=TIMEOUT)


def _backend(device: torch.device) -> str:
    """NCCL for tensors on GPUs; gloo on the CPU, and with GPUs for objects and dev counts."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
