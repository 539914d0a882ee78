"""Spread items over processes that each own something (an archive), and get the results in order.

Batches are dealt out in turn, so that what each process writes does not depend on timing. Processes are spawned, not
forked: no lock or thread of the parent is copied. A process whose parent is gone, or gave up, reads the end of its pipe
and leaves through its `with` block as after an error, so that nothing half-done stays behind.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Protocol, TypeVar

from ds2cli.errors import Ds2Error

T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
R = TypeVar("R")

BATCH = 8
# batches a process may hold: one to work on and one to start next
AHEAD = 2
# Ctrl-C reaches every process of the terminal, SIGTERM all of a job; the parent decides what happens to the work
LEFT_TO_PARENT = (signal.SIGINT, signal.SIGTERM)


class Worker(Protocol[T_contra, R_co]):
    """What one process does: opened once, called for each item, asked for its result at the end."""

    def __enter__(self) -> Worker[T_contra, R_co]: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, item: T_contra, /) -> R_co:
        """The result of one item."""

    def result(self) -> Any:
        """What the job has to say at the end, as sums; called after `__exit__`."""


class ParentExitedError(Exception):
    """The parent left without asking for the end."""


def spread(
    make: Callable[[int], Worker[T, R]],
    items: Iterable[T],
    nj: int,
    at_end: Callable[[Any], None],
    before_commit: Callable[[], None] = lambda: None,
) -> Iterator[R]:
    """Yield make(1 … nj)(item) for each item, in their order, with at most a few batches in flight.

    make: picklable, makes the job of one process.  at_end: called with each job's result, in order, once all is done.
    before_commit: called after the last item and before any job ends; what it raises ends them as an error does.
    With nj = 1 everything happens in this process. Ds2Error when a process dies; an error in a job is raised here.
    """
    if nj == 1:
        job = make(1)
        with job:
            yield from map(job, items)
            before_commit()
        at_end(job.result())
        return
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    processes = []
    try:
        # unblocks the signals that it blocks, so it comes before the block below
        resource_tracker.ensure_running()
        # what is blocked here stays blocked in a process from its first moment
        before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_PARENT)
        try:
            for number in range(1, nj + 1):
                here, there = context.Pipe()
                process = context.Process(target=_serve, args=(make, number, there), daemon=True)
                process.start()
                there.close()
                pipes.append(here)
                processes.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        waiting: deque[Connection] = deque()
        for index, batch in enumerate(_batches(items)):
            if len(waiting) == AHEAD * nj:
                yield from _receive(waiting.popleft())
            pipe = pipes[index % nj]
            _send(pipe, batch)
            waiting.append(pipe)
        while waiting:
            yield from _receive(waiting.popleft())
        before_commit()
        for pipe in pipes:
            _send(pipe, None)
        for result in [_receive(pipe) for pipe in pipes]:
            at_end(result)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.kill()


def _batches(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    iterator = iter(items)
    while batch := tuple(item for _, item in zip(range(BATCH), iterator, strict=False)):
        yield batch


def _send(pipe: Connection, batch: Any) -> None:
    try:
        pipe.send(batch)
    except BrokenPipeError:
        _receive(pipe)
        raise Ds2Error("a worker process went away") from None


def _receive(pipe: Connection) -> Any:
    try:
        done, value = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise Ds2Error("a worker process died; out of memory? (fewer: --nj)") from None
    if done:
        return value
    error, text = value
    error.add_note(text)
    raise error


def _serve(make: Callable[[int], Worker[Any, Any]], number: int, pipe: Connection) -> None:
    """The life of one process: a batch in, its results out, until None asks for the end."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_pump, args=(pipe, waiting), daemon=True).start()
    with contextlib.suppress(ParentExitedError, BrokenPipeError, ConnectionResetError):
        try:
            job = make(number)
            with job:
                while (batch := _next(waiting)) is not None:
                    pipe.send((True, [job(item) for item in batch]))
            pipe.send((True, job.result()))
        except (ParentExitedError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as e:
            pipe.send((False, (e, traceback.format_exc())))


def _pump(pipe: Connection, waiting: queue.SimpleQueue[Any]) -> None:
    """Take batches off the pipe as they come: else both ends could wait for the other to read a long message."""
    try:
        while True:
            waiting.put(pipe.recv())
    except (EOFError, OSError):
        waiting.put(ParentExitedError())


def _next(waiting: queue.SimpleQueue[Any]) -> Any:
    batch = waiting.get()
    if isinstance(batch, ParentExitedError):
        raise batch
    return batch
