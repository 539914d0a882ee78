"""What every fuzzer does with an input: run `ds2` on it in this process, and check what holds whatever the input is.

A command ends within a time limit, with a status of its own and one line for an error; what goes in is kept, dropped or
not selected; an output is whole or absent.
"""

import contextlib
import faulthandler
import functools
import io
import json
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import typer
from hypothesis import given

from ds2cli import atomic
from ds2cli.cli import main as cli
from ds2cli.errors import BadUtterance, Ds2Error
from ds2cli.kernels import compilation

TRIED = Counter()
"""Inputs tried by each fuzzer."""

TIME_LIMIT_S = 60.0
"""What takes longer is a hang, on a slow and busy machine too: no input takes a second."""

MEMORY = 4 << 30
"""Bytes that reading a file of some kilobytes may take at most."""

LONGEST_MESSAGE = 400
_LEDGER = re.compile(r"(\d+) in = (\d+) kept \+ (\d+) dropped(?: \([^)]*\))?(?: \+ (\d+) not selected)?")


def fuzz(*strategies, **named):
    """A test that gets many inputs, each in an empty current folder and within the time limit."""

    def decorate(test):
        @given(*strategies, **named)
        @functools.wraps(test)
        def guarded(*args, **kwargs):
            TRIED[test.__name__] += 1
            with time_limit(), memory_limit(), empty_folder():
                test(*args, **kwargs)

        return guarded

    return decorate


class _HangError(BaseException):
    """Not an Exception, so that no handler of the code under test can end it."""


@contextlib.contextmanager
def time_limit(seconds=TIME_LIMIT_S):
    """AssertionError when the time is over; the process ends if it does not return from compiled code."""

    def stop(*_):
        raise _HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(3 * seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    except _HangError as e:
        raise AssertionError(f"not done after {seconds:g} s") from e
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def memory_limit():
    """MemoryError for more than MEMORY bytes in addition to what this process has."""
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


@contextlib.contextmanager
def empty_folder():
    """An empty current folder, so that messages and manifests have short and equal paths."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="ds2-fuzz-", ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def in_child(function, *args):
    """Call a function in a process of its own: a crash of it is an AssertionError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        reader, writer = os.pipe()
        child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reader)
            signal.alarm(int(TIME_LIMIT_S))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            function(*args)
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode("utf-8", "replace"))
        finally:
            os._exit(status)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as f:
            message = f.read().decode()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        status = os.waitpid(child, 0)[1]
    assert not os.WIFSIGNALED(status), f"ended by {signal.Signals(os.WTERMSIG(status)).name}"
    assert os.WEXITSTATUS(status) == 0, message


@dataclass(frozen=True)
class Run:
    """A command that ran: its exit status, and what it wrote."""

    args: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def __str__(self):
        return f"ds2 {' '.join(self.args)}: exit status {self.status}\n{self.stdout}\n{self.stderr}"


@functools.cache
def _command():
    """The commands of `ds2`, assembled once: that takes longer than running one."""
    return typer.main.get_command(cli.app)


def ds2(*args, stdin=b""):
    """Run `ds2 …` in this process, and check its exit status and its message."""
    args = tuple(map(str, args))
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape", newline="\n") for _ in range(2)]
    before, status = signal.getsignal(signal.SIGTERM), 0
    with (
        mock.patch.object(sys, "argv", ["ds2", *args]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8")),
        mock.patch.object(cli, "app", _command()),
        mock.patch.object(atomic, "on_first", None),
        mock.patch.object(compilation, "on_first", None),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            cli.main()
        except SystemExit as e:
            status = e.code or 0
        finally:
            signal.signal(signal.SIGTERM, before)
    for stream in streams:
        stream.flush()
    stdout, stderr = (stream.buffer.getvalue().decode("utf-8", "replace") for stream in streams)
    run = Run(args, status, stdout, stderr)
    assert status in (0, 1, 2, 3), str(run)
    if status:
        lines = run.stderr.splitlines()
        errors = [line for line in lines if line.startswith("ds2: ")]
        assert errors == lines[-1:], str(run)
        # an error that only the last handler of all has put into words
        assert cli.TRACEBACK_VARIABLE not in errors[0], str(run)
        for line in errors:
            check_message(line.removeprefix("ds2: "))
    check_no_partial_files()
    return run


def check_message(message):
    """A message is one line; what a name in it contains besides is escaped when it is shown (ui.log)."""
    assert message.strip() and len(message) <= LONGEST_MESSAGE, f"{len(message)} characters: {message}"
    assert "\n" not in message, repr(message)


@contextlib.contextmanager
def allowed_errors():
    """Swallow the errors that bad input may cause, after a check of their messages; any other is a bug."""
    try:
        yield
    except BadUtterance as e:
        check_message(str(e))
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", e.reason), e.reason
    except Ds2Error as e:
        check_message(str(e))


def check_no_partial_files():
    """Nothing that a run was writing is left in the current folder."""
    assert not [path for path in Path().rglob(".*") if re.match(r"\.\d+\.part\.", path.name)]


def check_counts(run, out, expected=None):
    """In = kept + dropped + not selected, in the summary and in the files. expected: rows that went in, if known."""
    found = _LEDGER.findall(run.stderr)
    if not found:
        assert run.status != 0 or expected is None, str(run)
        return
    total, kept, dropped, unselected = (int(n or 0) for n in found[-1])
    assert total == kept + dropped + unselected, str(run)
    if run.status == 0:
        assert len(rows_of(out)) == kept, str(run)
        names = [row["id"] for row in rows_of(out)]
        assert names == sorted(set(names)), str(run)
    else:
        assert not Path(out).exists(), str(run)
    listed = Path(f"{out}.dropped.jsonl")
    assert len(rows_of(listed)) == dropped if listed.exists() else dropped == 0, str(run)
    # a refused result is known to be bad before its last row
    if expected is not None and run.status in (0, 1):
        assert total == expected, str(run)


def rows_of(path):
    """The rows of a file of JSON lines, which must be complete."""
    text = Path(path).read_text("utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]
