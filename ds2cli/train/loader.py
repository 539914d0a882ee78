"""Training batches, read ahead by a thread or by data-loader processes.

A batch's content follows from its utterances and the epoch alone, so the number of readers does not change it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from ds2cli.train.batches import Batch
from ds2cli.train.batching import BatchArrays, read_batch
from ds2cli.train.examples import TrainFeatures
from ds2cli.train.reader import ReaderProcess, Shard

PREFETCH = 2
"""Batches in flight per reader: one finished and one being read."""


class BatchLoader:
    """Reads batches in the background. waited: seconds that training spent waiting for them."""

    def __init__(self, train_features: TrainFeatures, readers: int) -> None:
        """readers: number of data-loader processes, which start with their first batch; 0 reads in a thread."""
        self.train_features = train_features
        self.waited = 0.0
        self._readers = [ReaderProcess(train_features) for _ in range(readers)]

    def __call__(self, shards: Iterable[Shard], epoch: int) -> Generator[Batch]:
        """Yield the batch of each shard, in order. Raises Ds2Error when a data-loader process fails."""
        source = self._read_in_processes(shards, epoch) if self._readers else self._read_in_thread(shards, epoch)
        try:
            while True:
                start = time.perf_counter()
                arrays = next(source, None)
                self.waited += time.perf_counter() - start
                if arrays is None:
                    return
                yield Batch.from_arrays(arrays)
        finally:
            source.close()

    def close(self) -> None:
        """End the data-loader processes."""
        for reader in self._readers:
            reader.close()

    def _read_in_thread(self, shards: Iterable[Shard], epoch: int) -> Generator[BatchArrays]:
        with ThreadPoolExecutor(1) as pool:
            pending: deque[Future[BatchArrays]] = deque()
            try:
                for shard in shards:
                    pending.append(pool.submit(read_batch, shard, self.train_features, epoch))
                    if len(pending) > PREFETCH:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def _read_in_processes(self, shards: Iterable[Shard], epoch: int) -> Generator[BatchArrays]:
        pending: deque[ReaderProcess] = deque()
        try:
            for i, shard in enumerate(shards):
                reader = self._readers[i % len(self._readers)]
                reader.submit(shard, epoch)
                pending.append(reader)
                if len(pending) > PREFETCH * len(self._readers):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # an epoch that ends early must not leave batches that the next epoch would take for its own
            for reader in self._readers:
                reader.cancel()
