"""Map a function over items, or over blocks of them, in several processes, with results in order.

Processes are spawned, not forked: no lock or thread of the parent is copied. If the parent exits or stops early, each
process sees the end of its pipe and leaves its `with` block as after an error, so it removes unfinished files.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from ds2cli import memory
from ds2cli.errors import Ds2Error
from ds2cli.processes import end_process, start_ignoring_signals

T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
R = TypeVar("R")

BATCH_SIZE = 8
QUEUED_BATCHES = 2
"""Batches sent to a process at a time: the one it works on and the next."""


class Worker(Protocol[T_contra, R_co]):
    """The work of one process: entered once, called for each item, exited, and queried for its result."""

    def __enter__(self) -> Worker[T_contra, R_co]: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, item: T_contra, /) -> R_co:
        """The result of one item."""

    def result(self) -> Any:
        """A summary of the whole run, such as counts; called after `__exit__`."""


class ParentExitedError(Exception):
    """The parent exited, or stopped before the last item."""


def map_ordered(
    make_worker: Callable[[int], Worker[T, R]],
    items: Iterable[T],
    nj: int,
    on_result: Callable[[Any], None],
    before_commit: Callable[[], None] = lambda: None,
) -> Iterator[R]:
    """Yield the worker's value for each item, in the order of the items, with only a few batches in flight.

    Batches are assigned in turn, so what each process gets does not depend on timing.

    make_worker: picklable; called with the number of the process, 1 … nj. A process starts with its first batch, so few
    items have few processes, at least one.
    on_result: called with `Worker.result()` of each process, in order, after all of them have finished.
    before_commit: called after the last item and before any worker is left; if it raises, they are left with an error.
    With nj = 1 everything runs in this process. Ds2Error if a process dies, cannot start or runs out of memory; any
    other error in a worker is raised here.
    """
    if nj == 1:
        worker = make_worker(1)
        with worker:
            yield from map(worker, items)
            before_commit()
        on_result(worker.result())
        return
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    processes: list[BaseProcess] = []

    def start_process() -> None:
        pipes.append(_start(context, _run_worker, (make_worker, len(pipes) + 1), processes))

    try:
        pending: deque[Connection] = deque()
        for index, batch in enumerate(_batches(items)):
            if index < nj:
                start_process()
            if len(pending) == QUEUED_BATCHES * nj:
                yield from _receive(pending.popleft())
            pipe = pipes[index % nj]
            _send(pipe, batch)
            pending.append(pipe)
        while pending:
            yield from _receive(pending.popleft())
        if not pipes:
            start_process()
        before_commit()
        for pipe in pipes:
            _send(pipe, None)
        for result in [_receive(pipe) for pipe in pipes]:
            on_result(result)
    finally:
        for pipe in pipes:
            pipe.close()
        _end(processes)


def map_blocks(work: Callable[[T], Generator[R]], blocks: Iterable[T], nj: int) -> Generator[R]:
    """Yield what `work` yields for each block, in the order of the blocks; a process that is free gets the next block.

    work: picklable; what it yields for the first unfinished block comes at once.
    No more processes than blocks are started; with nj = 1 everything runs in this process. Errors as of `map_ordered`.
    """
    if nj == 1:
        for block in blocks:
            yield from work(block)
        return
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = []
    idle: deque[Connection] = deque()
    busy: dict[Connection, _Pending[R]] = {}
    pending: deque[_Pending[R]] = deque()
    try:
        source = iter(blocks)
        while True:
            # results of later blocks wait in memory for those of the first one
            while len(busy) < nj and len(pending) < 2 * nj:
                try:
                    block = next(source)
                except StopIteration:
                    nj = len(busy)
                    break
                if not idle:
                    idle.append(_start(context, _run_blocks, (work,), processes))
                pipe = idle.popleft()
                _send(pipe, block)
                pending.append(_Pending())
                busy[pipe] = pending[-1]
            if not pending:
                return
            first = pending[0]
            while first.results:
                yield first.results.popleft()
            if first.is_complete:
                pending.popleft()
                continue
            ready = wait([*busy])
            for pipe in [pipe for pipe in busy if pipe in ready]:
                results = _receive(pipe)
                busy[pipe].results.extend(results or ())
                if results is None:
                    busy.pop(pipe).is_complete = True
                    idle.append(pipe)
    finally:
        for pipe in (*idle, *busy):
            pipe.close()
        _end(processes)


@dataclass
class _Pending(Generic[R]):
    """The results of a block that have arrived and not been yielded."""

    results: deque[R] = field(default_factory=deque)
    is_complete: bool = False


def _start(
    context: SpawnContext, target: Callable[..., None], arguments: tuple[Any, ...], processes: list[BaseProcess]
) -> Connection:
    """Start a process, and append it to the others; returns the pipe to it, whose other end is its last argument."""
    pipe, child_end = context.Pipe()
    process = context.Process(target=target, args=(*arguments, child_end), daemon=True)
    try:
        start_ignoring_signals([process])
    except BaseException:
        pipe.close()
        raise
    finally:
        child_end.close()
    processes.append(process)
    return pipe


def _end(processes: Iterable[BaseProcess]) -> None:
    """Wait for processes whose pipes were closed."""
    for process in processes:
        process.join(10)
        if process.is_alive():
            process.kill()


def _batches(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    iterator = iter(items)
    while batch := tuple(item for _, item in zip(range(BATCH_SIZE), iterator, strict=False)):
        yield batch


def _send(pipe: Connection, batch: Any) -> None:
    try:
        pipe.send(batch)
    except BrokenPipeError:
        _receive(pipe)
        raise Ds2Error("a worker process exited unexpectedly") from None


def _receive(pipe: Connection) -> Any:
    try:
        succeeded, value = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise Ds2Error("a worker process died, perhaps out of memory (try a smaller --nj)") from None
    if succeeded:
        return value
    error, its_traceback = value
    with memory.required("a worker process", "try a smaller --nj"):
        error.add_note(its_traceback)
        raise error


def _run_worker(make_worker: Callable[[int], Worker[Any, Any]], number: int, pipe: Connection) -> None:
    """The main function of a process: answer each batch with its results until None is received."""
    batches: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with contextlib.suppress(ParentExitedError, BrokenPipeError, ConnectionResetError):
        try:
            threading.Thread(target=_receive_batches, args=(pipe, batches), daemon=True).start()
            worker = make_worker(number)
            with worker:
                while (batch := _next_batch(batches)) is not None:
                    pipe.send((True, [worker(item) for item in batch]))
            pipe.send((True, worker.result()))
        except (ParentExitedError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as e:
            pipe.send((False, (e, traceback.format_exc())))
    end_process(0)


def _run_blocks(work: Callable[[Any], Generator[Any]], pipe: Connection) -> None:
    """The main function of a process: answer each block with batches of its results, and None at its end."""
    # the parent has exited, or stopped before the last result
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            while True:
                with contextlib.closing(work(pipe.recv())) as results:
                    for batch in _batches(results):
                        pipe.send((True, batch))
                pipe.send((True, None))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as e:
            pipe.send((False, (e, traceback.format_exc())))
    end_process(0)


def _receive_batches(pipe: Connection, batches: queue.SimpleQueue[Any]) -> None:
    """Read the pipe in a thread: otherwise both ends could block while sending each other long messages."""
    try:
        while True:
            batches.put(pipe.recv())
    except (EOFError, OSError):
        batches.put(ParentExitedError())


def _next_batch(batches: queue.SimpleQueue[Any]) -> Any:
    batch = batches.get()
    if isinstance(batch, ParentExitedError):
        raise batch
    return batch
