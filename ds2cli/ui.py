"""All output for people: log lines, progress bars and tables on standard error, results on standard output.

People read in the encoding of their locale, which may lack a letter: it is replaced. Lines for programs are UTF-8.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ds2cli import atomic
from ds2cli.kernels import compilation

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

T = TypeVar("T")
LOG_INTERVAL_S = 30.0
"""Seconds between two progress lines if standard error is not a terminal."""

_CONTROL_CHARACTERS = {
    code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029) if chr(code) != "\t"
}

_REPLACE = "ds2cli.replace"
"""The error handler of encoders that replaces letters."""


def replace_missing_letters() -> None:
    """From now on, standard output shows `?` for a letter that its encoding lacks, so that columns stay aligned.

    Standard error, which names files, shows `\\u4eca`: that is Python's default.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_REPLACE)


def _replace(e: UnicodeError) -> tuple[str, int]:
    assert isinstance(e, UnicodeEncodeError)
    return "".join("..." if c == "…" else "?" for c in e.object[e.start : e.end]), e.end


codecs.register_error(_REPLACE, _replace)


def log(message: str) -> None:
    """Write one line to standard error; control characters, such as a line feed in a file name, are escaped.

    A line that cannot be written (closed pipe, full disk) is lost, and the command continues.
    """
    with contextlib.suppress(OSError):
        sys.stderr.write(message.translate(_CONTROL_CHARACTERS).encode("utf-8", "replace").decode() + "\n")
        sys.stderr.flush()


def warn(message: str) -> None:
    """Write one line to standard error that starts with `warning:`."""
    log(f"warning: {message}")


def one_line(text: str, encoding: str | None) -> str:
    """A text as one line of a terminal of this encoding: control characters escaped, letters that it lacks replaced."""
    encoding = encoding or "ascii"
    return text.translate(_CONTROL_CHARACTERS).replace("\t", " ").encode(encoding, _REPLACE).decode(encoding)


def echo(message: str = "") -> None:
    """Print one line of a result for people to standard output."""
    sys.stdout.write(message + "\n")


def echo_data(line: str) -> None:
    """Print one line that is read back, or by programs, to standard output: in UTF-8, unless that is a terminal."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and not out.isatty() and out.errors != "surrogateescape":
        # bytes of file names that are not UTF-8 are kept
        out.reconfigure(encoding="utf-8", errors="surrogateescape")
    out.write(line + "\n")


def echo_diff(line: str) -> None:
    """Print a line of a unified diff to standard output: on a terminal in color, as `git diff` does."""
    colors = {"---": "1", "+++": "1", "@@ ": "36", "-": "31", "+": "32"}
    color = next((color for start, color in colors.items() if line.startswith(start)), "")
    shown = one_line(line, "utf-8")
    echo(f"\x1b[{color}m{shown}\x1b[0m" if color and sys.stdout.isatty() else shown)


def flush() -> None:
    """Let the reader of standard output have what was printed."""
    sys.stdout.flush()


def progress(
    items: Iterable[T],
    label: str,
    total: int | None = None,
    unit: str = "utt",
    clock: Callable[[], float] = compilation.working_clock,
) -> Iterator[T]:
    """Pass items through and show a bar with rate and ETA on a terminal, else a plain line every 30 s.

    clock: what the rate and the ETA are computed from (s); the default leaves out the compilation of kernels.
    """
    atomic.begin_output()
    if sys.stderr.isatty():
        with bar(unit, clock) as p:
            task = p.add_task(label, total=total)
            for item in items:
                yield item
                p.advance(task)
        return
    start = shown = clock()
    for done, item in enumerate(items, start=1):
        yield item
        now = clock()
        if now - shown >= LOG_INTERVAL_S:
            shown = now
            log(f"{label}: {progress_text(done, total, now - start, unit)}")


def progress_text(done: int, total: int | None, seconds: float, unit: str) -> str:
    """`120/400 utt, 12.0 utt/s, 23 s left`."""
    rate = done / seconds if seconds > 0 else 0.0
    text = f"{done}{f'/{total}' if total else ''} {unit}, {rate:.1f} {unit}/s"
    return f"{text}, {(total - done) / rate:.0f} s left" if total and rate else text


class AudioProgress:
    """Progress of recordings, and within one that takes long, as a context: bars on a terminal, else lines."""

    def __init__(self, label: str, files: int, clock: Callable[[], float] = compilation.working_clock) -> None:
        self.label, self.files, self.clock = label, files, clock
        self._done = 0
        self._start = self._file_start = self._shown = clock()
        self._bar: Progress | None = None
        self._tasks: list[Any] = []

    def __enter__(self) -> AudioProgress:
        atomic.begin_output()
        self._start = self._file_start = self._shown = self.clock()
        if sys.stderr.isatty():
            from rich import progress as rich_progress

            self._bar = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                # narrow, so that the text fits on 80 columns
                rich_progress.BarColumn(bar_width=15),
                rich_progress.TextColumn("{task.fields[text]}"),
                console=console(),
                transient=True,
            )
            self._tasks = [self._bar.add_task(self.label, total=self.files, text=f"0/{self.files} file")]
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def finish(self) -> None:
        """One more recording is done."""
        self._done, self._file_start = self._done + 1, self.clock()
        text = progress_text(self._done, self.files, self._file_start - self._start, "file")
        if self._bar is None:
            self._log(text)
            return
        for task in self._tasks[1:]:
            self._bar.remove_task(task)
        del self._tasks[1:]
        self._bar.update(self._tasks[0], completed=self._done, text=text)

    def within(self, name: str, done_s: float, total_s: float | None) -> None:
        """`done_s` of the `total_s` seconds of a recording are done."""
        text = audio_progress_text(done_s, total_s, self.clock() - self._file_start)
        if self._bar is None:
            self._log(f"{name}: {text}")
            return
        if len(self._tasks) == 1:
            self._tasks.append(self._bar.add_task(name[-16:], text=text))
        self._bar.update(self._tasks[1], completed=done_s, total=total_s, text=text)

    def _log(self, text: str) -> None:
        now = self.clock()
        if now - self._shown >= LOG_INTERVAL_S:
            self._shown = now
            log(f"{self.label}: {text}")


class ShareProgress:
    """Progress within single items that take long: a line every 30 s, from any thread, each with the time left."""

    def __init__(self, label: str, clock: Callable[[], float] = compilation.working_clock) -> None:
        self.label, self.clock = label, clock
        self._starts: dict[str, float] = {}
        self._shown = clock()

    def within(self, name: str, share: float) -> None:
        """`share` of the work on an item is done, from 0, with which it begins, to 1."""
        now = self.clock()
        if not share:
            self._starts[name] = now
        start = self._starts.get(name, now)
        if share and now - max(self._shown, start) >= LOG_INTERVAL_S:
            self._shown = now
            log(f"{self.label}: {name}: {100 * share:.0f} %, {(now - start) * (1 - share) / share:.0f} s left")


def audio_progress_text(done_s: float, total_s: float | None, seconds: float) -> str:
    """`12:30 of 60:00, 62.1 x real time, 46 s left`."""
    rate = done_s / seconds if seconds > 0 else 0.0
    of = f" of {_minutes(total_s)}" if total_s else ""
    text = f"{_minutes(done_s)}{of}, {rate:.1f} x real time"
    return f"{text}, {max(total_s - done_s, 0) / rate:.0f} s left" if total_s and rate else text


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def bar(unit: str = "utt", clock: Callable[[], float] = compilation.working_clock) -> Progress:
    """A rich progress bar on standard error with count, rate and ETA; clock: as in `progress`."""
    from rich import progress as rich_progress

    class Rate(rich_progress.ProgressColumn):
        def render(self, task: Any) -> Any:
            from rich.text import Text

            return Text(f"{task.finished_speed or task.speed or 0:.1f} {unit}/s", style="progress.data.speed")

    return rich_progress.Progress(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        Rate(),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[note]}") if unit == "step" else rich_progress.TimeElapsedColumn(),
        console=console(),
        transient=True,
        get_time=clock,
    )


def console() -> Console:
    """The rich console on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, to_stdout: bool = False) -> None:
    """Print a small table of plain, aligned text, which reads the same in a pipe or a log file."""
    cells = [[str(c) for c in row] for row in rows]
    widths = [max(len(c[i]) for c in [list(columns), *cells]) for i in range(len(columns))]
    out = echo if to_stdout else log
    if title:
        out(title)
    for row in [list(columns), *cells]:
        out("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
