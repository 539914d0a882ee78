"""When memory runs out: which errors of all libraries mean that, and what they cost: one utterance, or the command.

The utterances in progress share the memory of the process. One may find too little of it only because of the others,
so it is tried once more while no other is in progress; if it fails again it is dropped, and the rest continues.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ds2cli import cgroups
from ds2cli.errors import BadUtterance, Ds2Error

R = TypeVar("R")

OUT_OF_MEMORY = "out-of-memory"
"""Reason code of an utterance that does not fit in memory on its own."""

SHORTER = "cut the recording into shorter ones, such as ffmpeg -i IN -f segment -segment_time 600 OUT%03d.wav"
"""What helps against a recording that is too long."""

_MEMINFO = Path("/proc/meminfo")
_WORTH_A_LOOK = 50_000_000
"""Bytes from which on the available memory is looked up: it takes a tenth of a millisecond."""

_LIMIT_AND_USE = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: ("memory.max", "memory.current"),
}
"""Files of a control group, by version."""

NO_THREAD = "can't start new thread"
_SNDFILE_MALLOC_FAILED = 17

_MESSAGE = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_alloc|ALLOC(ATION)?_FAILED"
    rf"|failed to map segment|{NO_THREAD}|could not (create|execute) a primitive$"
)
"""How it is reported by torch, the dynamic linker, Python's threads, CUDA's libraries and oneDNN."""

_SIZE = re.compile(r"allocate ([\d.]+) ?(bytes|[KMGTPE]iB)")
_UNITS = {"bytes": 0, **{f"{letter}iB": power for power, letter in enumerate("KMGTPE", start=1)}}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or one that led to it, means that there was not enough memory, in RAM or on a GPU."""
    return _find_cause(error) is not None


def describe_lack(error: BaseException) -> str:
    """`84 MB more are needed`: how much an out-of-memory error asked for, as far as it says."""
    cause = _find_cause(error)
    text = str(cause)
    if isinstance(cause, NeededError):
        return text
    if NO_THREAD in text:
        return "no thread can be started"
    size = _SIZE.search(text)
    if size is None:
        return "more is needed"
    return f"{format_size(float(size[1]) * 1024 ** _UNITS[size[2]])} more are needed"


def format_size(num_bytes: float) -> str:
    """A number of bytes as `1.7 GB`, `84 MB` or `1 kB`."""
    for name, size in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{num_bytes / size:.3g} {name}"
    return f"{max(1, round(num_bytes / 1e3))} kB"


class NeededError(MemoryError):
    """Not enough memory for an array whose size says more than that of the allocation: `4 steps x 3 labels: 12 GB`."""


@contextlib.contextmanager
def needed(num_bytes: int, size: str) -> Iterator[None]:
    """NeededError if memory runs out in the block, which needs `num_bytes`, or is known to be too small for them.

    size: what the number follows from, such as `4 steps x 3 symbols`.
    """
    lack = NeededError(f"{size} need {format_size(num_bytes)}")
    available = available_bytes() if num_bytes >= _WORTH_A_LOOK else None
    if available is not None and num_bytes > available:
        raise NeededError(f"{lack}, {format_size(available)} are available")
    try:
        yield
    except MemoryError as e:
        raise lack from e


def available_bytes() -> int | None:
    """Memory that this process can still get without swapping, on the machine and in its container; None if not known.

    Linux grants more than it has, and ends the process that uses it.
    """
    return min([*_read_meminfo(), *_read_container_limits()], default=None)


def _read_meminfo() -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):
        for line in _MEMINFO.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield 1024 * int(line.split()[1])


def _read_container_limits() -> Iterator[int]:
    """What the control groups of this process leave to it (bytes)."""
    for folder, version in cgroups.find_folders("memory"):
        with contextlib.suppress(OSError, ValueError):
            # a group without a limit has "max" here
            limit, used = (int((folder / name).read_text("ascii")) for name in _LIMIT_AND_USE[version])
            yield max(0, limit - used + _read_cached(folder))


def _read_cached(folder: Path) -> int:
    """What a control group keeps of the files it has read, and gives up when a process needs memory (bytes)."""
    try:
        amounts = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
    except (OSError, ValueError):
        return 0
    # in version 1, only the totals count the groups within this one, as the use does
    return sum(int(amounts.get(f"total_{name}", amounts.get(name, 0))) for name in ("active_file", "inactive_file"))


@contextlib.contextmanager
def required(what: str, fix: str) -> Iterator[None]:
    """Ds2Error if memory runs out in the block, where no single utterance is to blame: `what does not fit (fix)`."""
    try:
        yield
    except Exception as e:
        if isinstance(e, Ds2Error | BadUtterance) or not is_out_of_memory(e):
            raise
        raise Ds2Error(f"{what} does not fit in memory: {describe_lack(e)} ({fix})") from e


def fit_utterance(work: Callable[[], R], name: str, fix: str) -> R:
    """The result of `work()`, which is the work on one utterance; see `try_to_fit`.

    name: of the work, such as "the alignment".  fix: what helps.
    BadUtterance "out-of-memory" if it does not fit.
    """
    result, lack = try_to_fit(work)
    if lack is not None:
        raise BadUtterance(OUT_OF_MEMORY, f"{name} does not fit in memory: {lack} ({fix})")
    # only a result that does not fit is None without being one
    return result  # type: ignore[return-value]


def try_to_fit(work: Callable[[], R]) -> tuple[R | None, str | None]:
    """The result of `work()` and None, or None and how much memory it lacks.

    When memory runs out, the work is done once more while no other is in progress in this process: it must have no
    lasting effects. Work within other work is not repeated: its error is for the outer one.
    """
    if _turns.is_inside():
        return work(), None
    for turn in (_turns.together, _turns.alone):
        with turn():
            try:
                return work(), None
            except Exception as e:
                if isinstance(e, Ds2Error) or not is_out_of_memory(e):
                    raise
                lack = e.detail if isinstance(e, BadUtterance) else describe_lack(e)
        # the arrays of the failed work are free only after its traceback
        release()
    return None, lack


def working() -> contextlib.AbstractContextManager[None]:
    """A block of other work that needs memory: the repetition of `try_to_fit` waits for its end."""
    return _turns.together()


def release() -> None:
    """Free what failed work has left, on the GPU too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class _Turns:
    """Lets threads work together, or one of them alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = 0
        self._alone = False
        self._thread = threading.local()

    def is_inside(self) -> bool:
        """Whether this thread is within one of the blocks below."""
        return getattr(self._thread, "inside", False)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Work while others may work, too."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._working += 1
        self._thread.inside = True
        try:
            yield
        finally:
            self._thread.inside = False
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until the others have finished what they are doing, and work while they wait."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True
        self._thread.inside = True
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._working)
            yield
        finally:
            self._thread.inside = False
            with self._changed:
                self._alone = False
                self._changed.notify_all()


_turns = _Turns()


def _find_cause(error: BaseException | None) -> BaseException | None:
    """The first exception in the chain of causes that means that there was not enough memory."""
    while error is not None and not _means_out_of_memory(error):
        error = error.__cause__ or error.__context__
    return error


def _means_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # libraries that are not imported here
    name = type(error).__name__
    if name in ("OutOfMemoryError", "LibsndfileError"):
        return name == "OutOfMemoryError" or getattr(error, "code", None) == _SNDFILE_MALLOC_FAILED
    # other messages may have the name of a file
    is_own_message = isinstance(error, RuntimeError | ImportError) or getattr(error, "filename", "") is None
    return is_own_message and _MESSAGE.search(str(error)) is not None
