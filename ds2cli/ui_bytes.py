"""Progress of a download: bytes, rate and time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ds2cli import ui
from ds2cli.memory import format_size

if TYPE_CHECKING:
    from rich.progress import Progress


class ByteProgress:
    """Progress of tasks that are counted in bytes, as a context: a bar on a terminal, else a line every 30 s."""

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.label, self.clock = label, clock
        self._task = ""
        self._start = self._shown = clock()
        self._first = 0
        self._bar: Progress | None = None
        self._id: Any = None

    def __enter__(self) -> ByteProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, task: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of a task are done; the rate is that since its first call."""
        now = self.clock()
        if task != self._task or done < self._first:
            self._task, self._start, self._shown, self._first = task, now, now, done
            if sys.stderr.isatty():
                self._begin_bar(task, done, total)
        if self._bar is not None:
            self._bar.update(self._id, completed=done, total=total)
        elif now - self._shown >= ui.LOG_INTERVAL_S:
            self._shown = now
            ui.log(f"{self.label}: {task}: {byte_progress_text(done, total, self._first, now - self._start)}")

    def log(self, message: str) -> None:
        """Write one line, above the bar if there is one."""
        ui.log(f"{self.label}: {message}")

    def _begin_bar(self, task: str, done: int, total: int | None) -> None:
        from rich import progress as rich_progress

        if self._bar is None:
            self._bar = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(bar_width=15),
                rich_progress.DownloadColumn(),
                rich_progress.TransferSpeedColumn(),
                rich_progress.TimeRemainingColumn(),
                console=ui.console(),
                transient=True,
            )
            self._bar.start()
        if self._id is not None:
            self._bar.remove_task(self._id)
        self._id = self._bar.add_task(task, completed=done, total=total)


def byte_progress_text(done: int, total: int | None, first: int, seconds: float) -> str:
    """`84 MB of 338 MB, 12 MB/s, 21 s left`; first: bytes that were done when the `seconds` began."""
    rate = (done - first) / seconds if seconds > 0 else 0.0
    text = f"{format_size(done)}{f' of {format_size(total)}' if total else ''}, {format_size(rate)}/s"
    return f"{text}, {max(total - done, 0) / rate:.0f} s left" if total and rate else text
