"""Batches for a training, read ahead of it by a thread or by processes.

What is in a batch follows from the utterances and the epoch alone, so the number of readers changes nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from ds2cli.train.batches import Batch
from ds2cli.train.examples import BatchArrays, TrainFeatures, gather
from ds2cli.train.reader import Reader, Shard

AHEAD = 2
"""Batches a reader may hold: one done and one to work on."""


class BatchLoader:
    """Reads batches in the background. waited: seconds that whoever asked for them had to wait."""

    def __init__(self, see: TrainFeatures, readers: int) -> None:
        """readers: processes; with 0 a thread of this one reads."""
        self.see = see
        self.waited = 0.0
        self._readers = [Reader(see) for _ in range(readers)]

    def __call__(self, shares: Iterable[Shard], epoch: int) -> Generator[Batch]:
        """The batch of each share, in order. Ds2Error when a process that reads fails."""
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

    def _by_thread(self, shares: Iterable[Shard], epoch: int) -> Generator[BatchArrays]:
        with ThreadPoolExecutor(1) as pool:
            ahead: deque[Future[BatchArrays]] = deque()
            try:
                for share in shares:
                    ahead.append(pool.submit(gather, share, self.see, epoch))
                    if len(ahead) > AHEAD:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _by_processes(self, shares: Iterable[Shard], epoch: int) -> Generator[BatchArrays]:
        held: deque[Reader] = deque()
        try:
            for i, share in enumerate(shares):
                reader = self._readers[i % len(self._readers)]
                reader.ask(share, epoch)
                held.append(reader)
                if len(held) > AHEAD * len(self._readers):
                    yield held.popleft().answer()
            while held:
                yield held.popleft().answer()
        finally:
            # an epoch that is left early leaves nothing for the next one to take for its own
            for reader in self._readers:
                reader.forget()
