"""Functions that wait for the disk run in a thread, one after another, while the next results are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

MOST_WAITING = 4
"""Functions that may wait for their turn, so that what they write does not pile up in memory."""


class WriteBehind:
    """Runs functions in the order of `submit`, all of them before the end of the `with` block.

    The error of a function is raised by a later call, or at the end, and no further function runs. If another error
    ends the block, those that have not begun are left out.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "write-behind")
        self._waiting: deque[Future[None]] = deque()
        self._has_failed = False

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._wait_for(0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, work: Callable[[], None]) -> None:
        """Run `work` after those before it; waits if there are many."""
        self._wait_for(MOST_WAITING)
        self._waiting.append(self._pool.submit(self._run, work))

    def _run(self, work: Callable[[], None]) -> None:
        if self._has_failed:
            return
        try:
            work()
        except BaseException:
            self._has_failed = True
            raise

    def _wait_for(self, count: int) -> None:
        """Wait until at most `count` functions are waiting or running."""
        while self._waiting and (len(self._waiting) > count or self._waiting[0].done()):
            self._waiting.popleft().result()
