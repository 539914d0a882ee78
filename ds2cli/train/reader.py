"""A process that reads batches. It does without torch, so it is small and quick to start.

Nothing is lost with it: one that dies, as a broken recording can kill the library that decodes it, is replaced, and
costs the utterance that killed it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from multiprocessing import util
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from ds2cli.errors import Ds2Error
from ds2cli.processes import kill, start_ignoring_signals
from ds2cli.train.examples import BatchArrays, Spectrogram, TrainFeatures, Utterance, gather

READER_DIED = "reader-died"
"""Why an utterance is left out that a process did not survive reading."""

Shard = Sequence[Utterance]


class Reader:
    """The process, and what it was asked and has not answered. It is started anew whenever it is needed."""

    def __init__(self, see: TrainFeatures) -> None:
        self.see = see
        self.asked: deque[tuple[Shard, int]] = deque()
        self.process: Any = None
        self._start()

    def ask(self, share: Shard, epoch: int) -> None:
        """Have a share read; `answer` gives the answers in the same order."""
        self.asked.append((share, epoch))
        self._send(share, epoch)

    def answer(self) -> BatchArrays:
        """What the process made of the oldest share; without the utterance that kills it, if one does.

        Ds2Error when it failed otherwise, or cannot be started.
        """
        share, epoch = self.asked.popleft()
        found = self._receive()
        if found is None:
            later = list(self.asked)
            self.asked.clear()
            found = self._one_by_one(share, epoch)
            for each in later:
                self.ask(*each)
        return found

    def forget(self) -> None:
        """Drop what was asked and is not answered."""
        if self.asked:
            self.asked.clear()
            self.close()

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.pipe.close()
            self._kill()
            self.process.close()
            self.process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=serve, args=(self.see, there), daemon=True)
        start_ignoring_signals([self.process])
        there.close()
        self._kill = util.Finalize(self, kill, ([self.process],), exitpriority=1)

    def _send(self, share: Shard, epoch: int) -> None:
        if self.process is None:
            self._start()
        # a dead process is found out when its answer is waited for
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send((share, epoch))

    def _receive(self) -> BatchArrays | None:
        """An answer, or None when the process died."""
        try:
            value = self.pipe.recv()
        except (EOFError, OSError):
            self.close()
            return None
        if isinstance(value, BatchArrays):
            return value
        raise Ds2Error(f"train: reading failed: {value}")

    def _one_by_one(self, share: Shard, epoch: int) -> BatchArrays:
        """Find out which utterances of a share can be read, and read those."""
        self._read([], epoch)
        fine: list[Utterance] = []
        dead: list[Utterance] = []
        for utterance in share:
            self._send([utterance], epoch)
            (dead if self._receive() is None else fine).append(utterance)
        found = self._read(fine, epoch)
        found.unusable |= {u.id: READER_DIED for u in dead}
        return found

    def _read(self, share: Shard, epoch: int) -> BatchArrays:
        self._send(share, epoch)
        if (found := self._receive()) is None:
            raise Ds2Error("train: processes that read die whatever they read; out of memory? (fewer: --readers)")
        return found


def serve(see: TrainFeatures, pipe: Connection) -> None:
    """The life of a process that reads: a share in, its arrays out, until the other end of the pipe is closed."""
    asked: queue.SimpleQueue[tuple[Shard, int]] = queue.SimpleQueue()
    threading.Thread(target=_take, args=(pipe, asked), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(_found(see, *asked.get()))


def _take(pipe: Connection, asked: queue.SimpleQueue[tuple[Shard, int]]) -> None:
    """Take questions off the pipe at once, else both ends could wait for the other to read; end when there is none."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            asked.put(pipe.recv())
    # the parent is gone, also when it was killed: nobody waits for what is being read
    os._exit(0)


def _found(see: TrainFeatures, share: Shard, epoch: int) -> BatchArrays | str:
    """The batch of a share; a line about the bug when it is one that reading fails with."""
    at = ""

    def noted(utterance: Utterance, epoch: int) -> Spectrogram:
        nonlocal at
        at = f"{utterance.id}: "
        return see(utterance, epoch)

    try:
        return gather(share, cast(TrainFeatures, noted), epoch)
    except MemoryError:
        # as if the system had killed it: it costs the utterance that is too large
        os._exit(1)
    except Exception as e:
        last = traceback.extract_tb(e.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return at + " ".join(f"{type(e).__name__}: {e} ({where})".split())
