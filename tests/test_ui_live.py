"""The line that is rewritten in place, on a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios

import pytest

from ds2cli.ui_live import fit_end

SHOW = """
import sys
from ds2cli.ui_live import LiveLine
with LiveLine() as live:
    live.show("hel")
    live.show("hel")
    live.show("hello wor", 6)
    live.warn("no\\nsound")
    live.show("hello world", 11)
    live.echo("hello world")
    live.show("今天" * 9 + "好é\\t!")
"""


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("hello", 5, "hello"),
        ("hello", 4, "…llo"),
        ("hello", 1, "…"),
        ("hello", 0, ""),
        ("", 0, ""),
        ("今天好", 6, "今天好"),
        # half of a wide character does not fit
        ("今天好", 5, "…天好"),
        ("今天好", 4, "…好"),
        # an accent stays with its letter
        ("cafe\u0301s", 5, "cafe\u0301s"),
        ("cafe\u0301s", 4, "…fe\u0301s"),
        ("cafe\u0301s", 2, "…s"),
        ("कि", 1, "…"),
    ],
)
def test_the_end_of_a_text(text, columns, expected):
    assert fit_end(text, columns) == expected


def test_a_mark_that_is_wide():
    assert fit_end("hello world", 8, "...") == "...world"
    assert fit_end("hello", 2, "...") == ""


def on_terminal(code, columns=20, out=None, **env):
    """What a program writes to a terminal, on standard error and, unless `out` is given, on standard output."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", "PYTHONUTF8": "1", **env}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=follower, stdout=out or follower, stderr=follower, env=env
    )
    os.close(follower)
    data = b""
    try:
        while select.select([leader], [], [], 60)[0] and (part := os.read(leader, 4096)):
            data += part
    except OSError:
        # the child has closed its end
        pass
    os.close(leader)
    assert child.wait(60) == 0
    return data.decode().replace("\r\n", "\n")


def test_the_line_is_rewritten_in_place():
    assert on_terminal(SHOW) == (
        "\r\x1b[2mhel\x1b[22m\x1b[K"
        "\rhello \x1b[2mwor\x1b[22m\x1b[K"
        "\r\x1b[Kwarning: no\\nsound\n"
        "\rhello world\x1b[K"
        "\r\x1b[Khello world\n"
        # 19 columns, the mark included
        "\r\x1b[2m…今天今天今天好é !\x1b[22m\x1b[K"
        "\r\x1b[K"
    )


def test_without_colors_and_width():
    shown = on_terminal(SHOW, columns=0, NO_COLOR="1")
    assert "\x1b[2m" not in shown and "\r" + "今天" * 9 + "好é !\x1b[K" in shown


def test_letters_that_the_terminal_lacks_are_replaced():
    shown = on_terminal(SHOW, columns=12, NO_COLOR="1", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert "\r...?????? !\x1b[K" in shown


def test_a_pipe_gets_final_lines_only(tmp_path):
    with (tmp_path / "out").open("wb") as out:
        shown = on_terminal(SHOW, out=out)
    assert (tmp_path / "out").read_bytes() == b"hello world\n"
    assert "\rhello world\x1b[K\r\x1b[K" in shown and "\nhello world" not in shown


def test_on_a_dumb_terminal_there_are_only_lines():
    assert on_terminal(SHOW, TERM="dumb") == "warning: no\\nsound\nhello world\n"


def test_without_a_terminal_there_are_only_lines():
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("hello world\n", "warning: no\\nsound\n")
