"""Batches for a training, read ahead of it by a thread or by processes.

What is in a batch follows from the utterances and the epoch alone, so the number of readers changes nothing. A process
that dies, as a broken recording can kill the library that decodes it, costs the utterance that killed it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from ds2cli.errors import Ds2Error
from ds2cli.nn.batches import Batch
from ds2cli.nn.examples import Arrays, See, Utterance, gather

AHEAD = 2
"""Batches a reader may hold: one done and one to work on."""
LEFT_TO_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
READER_DIED = "reader-died"
"""Why an utterance is left out that a process did not survive reading."""

Share = Sequence[Utterance]


class Loader:
    """Reads batches in the background. waited: seconds that whoever asked for them had to wait."""

    def __init__(self, see: See, readers: int) -> None:
        """readers: processes; with 0 a thread of this one reads."""
        self.see = see
        self.waited = 0.0
        self._readers = [_Reader(see) for _ in range(readers)]

    def __call__(self, shares: Iterable[Share], epoch: int) -> Generator[Batch]:
        """The batch of each share, in order."""
        source = self._by_processes(shares, epoch) if self._readers else self._by_thread(shares, epoch)
        try:
            while True:
                start = time.perf_counter()
                arrays = next(source, None)
                self.waited += time.perf_counter() - start
                if arrays is None:
                    return
                yield Batch.of(arrays)
        finally:
            source.close()

    def close(self) -> None:
        """End the processes."""
        for reader in self._readers:
            reader.close()

    def _by_thread(self, shares: Iterable[Share], epoch: int) -> Generator[Arrays]:
        with ThreadPoolExecutor(1) as pool:
            ahead: deque[Future[Arrays]] = deque()
            try:
                for share in shares:
                    ahead.append(pool.submit(gather, share, self.see, epoch))
                    if len(ahead) >= AHEAD:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _by_processes(self, shares: Iterable[Share], epoch: int) -> Generator[Arrays]:
        held: deque[_Reader] = deque()
        try:
            for i, share in enumerate(shares):
                reader = self._readers[i % len(self._readers)]
                reader.ask(share, epoch)
                held.append(reader)
                if len(held) >= AHEAD * len(self._readers):
                    yield held.popleft().answer()
            while held:
                yield held.popleft().answer()
        finally:
            # an epoch that is left early leaves nothing for the next one to take for its own
            for reader in self._readers:
                reader.forget()


class _Reader:
    """A process that reads, and what it was asked and has not answered."""

    def __init__(self, see: See) -> None:
        self.see = see
        self.asked: deque[tuple[Share, int]] = deque()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=serve, args=(self.see, there), daemon=True)
        # the parent decides what a signal to all of them means: what is blocked here stays blocked there
        before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_PARENT)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        there.close()

    def ask(self, share: Share, epoch: int) -> None:
        """Have a share read; `answer` gives the answers in the same order."""
        self.asked.append((share, epoch))
        # a dead process is found out when its answer is waited for
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send((share, epoch))

    def answer(self) -> Arrays:
        """What the process made of the oldest share; without the utterance that kills it, if one does."""
        share, epoch = self.asked[0]
        found = self._receive()
        if found is None:
            found = self._one_by_one(share, epoch)
        self.asked.popleft()
        return found

    def _receive(self) -> Arrays | None:
        """An answer, or None when the process died; the one that takes its place is asked all over again."""
        try:
            value = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._replace()
            return None
        if isinstance(value, Arrays):
            return value
        raise Ds2Error(f"train: reading failed: {value}")

    def _replace(self) -> None:
        self.close()
        self._start()

    def _one_by_one(self, share: Share, epoch: int) -> Arrays:
        """Find out which utterances of a share can be read, and read those."""
        rest = list(self.asked)[1:]
        self.asked.clear()
        fine: list[Utterance] = []
        dead: list[Utterance] = []
        for utterance in share:
            self.pipe.send(([utterance], epoch))
            (dead if self._receive() is None else fine).append(utterance)
        self.pipe.send((fine, epoch))
        found = self._receive()
        if found is None:
            raise Ds2Error("train: processes that read die again and again; out of memory? (fewer: --readers)")
        found.unusable |= {u.id: READER_DIED for u in dead}
        self.asked.append((share, epoch))
        for later in rest:
            self.ask(*later)
        return found

    def forget(self) -> None:
        """Receive what nobody wants any more."""
        while self.asked:
            self.answer()

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def serve(see: See, pipe: Connection) -> None:
    """The life of a process that reads: a share in, its arrays out, until the pipe is closed."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for share, epoch in _messages(pipe):
            try:
                found: Arrays | str = gather(share, see, epoch)
            except Exception as e:
                found = " ".join(f"{type(e).__name__}: {e}".split())
            pipe.send(found)


def _messages(pipe: Connection) -> Iterator[Any]:
    """What comes through a pipe, taken off it at once: else both ends could wait for the other to read."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def pump() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                waiting.put(pipe.recv())
        waiting.put(None)

    threading.Thread(target=pump, daemon=True).start()
    while (message := waiting.get()) is not None:
        yield message
