"""A data-loader process. It does not import torch, so it is small and starts quickly.

A process that dies is replaced: a damaged recording can crash the library that decodes it, and then costs only the
utterance that it belongs to.
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
from ds2cli.processes import kill_processes, start_ignoring_signals
from ds2cli.train.batching import BatchArrays, read_batch
from ds2cli.train.examples import Features, TrainFeatures, Utterance

READER_DIED = "reader-died"
"""Reason code of an utterance whose reading killed the process."""

Shard = Sequence[Utterance]
"""This rank's part of a batch."""


class ReaderProcess:
    """A data-loader process and the shards it has not returned yet; started whenever it is needed."""

    def __init__(self, train_features: TrainFeatures) -> None:
        self.train_features = train_features
        self.pending: deque[tuple[Shard, int]] = deque()
        self.process: Any = None

    def submit(self, shard: Shard, epoch: int) -> None:
        """Have a shard read; `result` returns the batches in the same order."""
        self.pending.append((shard, epoch))
        self._send(shard, epoch)

    def result(self) -> BatchArrays:
        """The batch of the oldest pending shard, without an utterance that kills the process.

        Raises Ds2Error when reading fails in another way, or the process cannot be started.
        """
        shard, epoch = self.pending.popleft()
        arrays = self._receive()
        if arrays is None:
            lost = list(self.pending)
            self.pending.clear()
            arrays = self._read_one_by_one(shard, epoch)
            for request in lost:
                self.submit(*request)
        return arrays

    def cancel(self) -> None:
        """Drop all pending shards."""
        if self.pending:
            self.pending.clear()
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
        self.pipe, child_end = context.Pipe()
        self.process = context.Process(target=run_reader, args=(self.train_features, child_end), daemon=True)
        start_ignoring_signals([self.process])
        child_end.close()
        self._kill = util.Finalize(self, kill_processes, ([self.process],), exitpriority=1)

    def _send(self, shard: Shard, epoch: int) -> None:
        if self.process is None:
            self._start()
        # a dead process is noticed when its result is awaited
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send((shard, epoch))

    def _receive(self) -> BatchArrays | None:
        """The next batch, or None when the process has died."""
        try:
            value = self.pipe.recv()
        except (EOFError, OSError):
            self.close()
            return None
        if isinstance(value, BatchArrays):
            return value
        raise Ds2Error(f"train: reading failed: {value}")

    def _read_one_by_one(self, shard: Shard, epoch: int) -> BatchArrays:
        """Find the utterances that can be read without killing the process, and read those."""
        self._read([], epoch)
        readable: list[Utterance] = []
        fatal: list[Utterance] = []
        for utterance in shard:
            self._send([utterance], epoch)
            (fatal if self._receive() is None else readable).append(utterance)
        arrays = self._read(readable, epoch)
        arrays.unusable |= {u.id: READER_DIED for u in fatal}
        return arrays

    def _read(self, shard: Shard, epoch: int) -> BatchArrays:
        self._send(shard, epoch)
        if (arrays := self._receive()) is None:
            raise Ds2Error(
                "train: every data-loader process exits, whatever it reads; out of memory? (use fewer --readers)"
            )
        return arrays


def run_reader(train_features: TrainFeatures, pipe: Connection) -> None:
    """Body of the process: receive shards and send their batches until the other end of the pipe is closed."""
    requests: queue.SimpleQueue[tuple[Shard, int]] = queue.SimpleQueue()
    threading.Thread(target=_receive_requests, args=(pipe, requests), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(_read_or_describe_error(train_features, *requests.get()))


def _receive_requests(pipe: Connection, requests: queue.SimpleQueue[tuple[Shard, int]]) -> None:
    """Empty the pipe at once, or both ends could wait for the other to read; exit when it is closed."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            requests.put(pipe.recv())
    # the parent has ended, even if it was killed: what is being read has no recipient
    os._exit(0)


def _read_or_describe_error(train_features: TrainFeatures, shard: Shard, epoch: int) -> BatchArrays | str:
    """The batch of a shard, or one line about the bug that reading it ran into."""
    prefix = ""

    def remember_id(utterance: Utterance, epoch: int) -> Features:
        nonlocal prefix
        prefix = f"{utterance.id}: "
        return train_features(utterance, epoch)

    try:
        return read_batch(shard, cast(TrainFeatures, remember_id), epoch)
    except MemoryError:
        # as if the system had killed the process: only the utterances that cannot be read in a new one are lost
        os._exit(1)
    except Ds2Error as e:
        return str(e)
    except Exception as e:
        last = traceback.extract_tb(e.__traceback__)[-1]
        location = f"{Path(last.filename).name}:{last.lineno}"
        return prefix + " ".join(f"{type(e).__name__}: {e} ({location})".split())
