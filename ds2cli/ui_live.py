"""A line at the bottom of the terminal that is rewritten in place, for a text that is still changing."""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from typing import TextIO

from ds2cli import ui

DEFAULT_COLUMNS = 80
"""Width of a terminal that does not state one."""

_DIM, _NORMAL, _CLEAR = "\x1b[2m", "\x1b[22m", "\x1b[K"


class LiveLine:
    """Shows a changing text on standard error, or standard output if only that is a terminal, and prints final lines.

    Final lines go to standard output as any result does, so a pipe gets nothing else. Without a terminal, and on one
    that cannot move its cursor (TERM=dumb), only they are written. Use it as a context: at its end the line is cleared.
    """

    def __init__(self) -> None:
        self._terminal = _find_terminal()
        self._shown = ""

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, text: str, stable: int = 0) -> None:
        """Show the end of a text that fits in the line.  stable: the number of its first characters that will stay.

        The others are dim, unless NO_COLOR is set.
        """
        if self._terminal is None:
            return
        encoding = self._terminal.encoding
        start, changing = ui.one_line(text[:stable], encoding), ui.one_line(text[stable:], encoding)
        cut = fit_end(start + changing, _columns(self._terminal) - 1, ui.one_line("…", encoding))
        changing = cut[max(len(cut) - len(changing), 0) :]
        line = cut[: len(cut) - len(changing)]
        if changing:
            line += changing if os.environ.get("NO_COLOR") else f"{_DIM}{changing}{_NORMAL}"
        if line != self._shown:
            self._shown = line
            self._write(f"\r{line}{_CLEAR}")

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._shown = ""
            self._write(f"\r{_CLEAR}")

    def echo(self, line: str) -> None:
        """Print a final line, which takes the place of the changing one."""
        self.clear()
        ui.echo_data(line)
        ui.flush()

    def warn(self, message: str) -> None:
        """Write a warning in a line of its own; the changing line comes back with the next `show`."""
        self.clear()
        ui.warn(message)

    def _write(self, text: str) -> None:
        # a terminal that was closed shows no line, and the results do not depend on it
        with contextlib.suppress(OSError):
            assert self._terminal is not None
            self._terminal.write(text)
            self._terminal.flush()


def fit_end(text: str, columns: int, mark: str = "…") -> str:
    """The end of a text that fits in this number of columns, with a mark in front if it is not the whole.

    Wide characters (Chinese, emoji) take two columns, combining ones none; the end does not begin with one of these.
    """
    sizes = [_size(c) for c in text]
    if sum(sizes) <= columns:
        return text
    room, begin = columns - sum(map(_size, mark)), len(text)
    while begin and sizes[begin - 1] <= room:
        begin -= 1
        room -= sizes[begin]
    while begin < len(text) and not sizes[begin]:
        begin += 1
    return mark + text[begin:] if room >= 0 else ""


def _size(character: str) -> int:
    from rich.cells import get_character_cell_size

    # terminals differ about spacing marks and joined emoji: too much is better than a line that is wrapped
    return get_character_cell_size(character) or int(unicodedata.category(character) == "Mc")


def _find_terminal() -> TextIO | None:
    if os.environ.get("TERM") == "dumb":
        return None
    # either is None in a process that was started without it
    streams: list[TextIO | None] = [sys.stderr, sys.stdout]
    return next((stream for stream in streams if stream is not None and stream.isatty()), None)


def _columns(terminal: TextIO) -> int:
    with contextlib.suppress(OSError):
        return os.get_terminal_size(terminal.fileno()).columns or DEFAULT_COLUMNS
    return DEFAULT_COLUMNS
