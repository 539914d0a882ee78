"""Decode uploaded recordings in processes of their own, which may be killed at any time. Notation: N samples.

A server of forks has imported the decoders, so that a process is there after some milliseconds. It gets the bytes as a
file in memory, and leaves samples in another one; all that is said of them is a line of JSON. None of its objects
reaches this process, and no file has a name.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import pkgutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import IO, Any

import av
import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.audio import codecs
from ds2cli.audio.read import LONGEST_S
from ds2cli.audio.source import PipedAudio
from ds2cli.audio.stream import BLOCK, lasts_longer, open_blocks, resample_blocks
from ds2cli.errors import BadUtterance, Ds2Error
from ds2cli.inputs import explain_error
from ds2cli.processes import start_ignoring_signals
from ds2cli.serve.refusal import Refusal, bad_request, internal_error
from ds2cli.serve.sandbox import Limits, enter

MEMORY = 512_000_000
"""Bytes that decoding may take in addition to the recording itself."""

MIN_SPEED = 20
"""Audio (s) that a second of CPU time must decode; the slowest codecs manage 100."""

START_S = 60.0
"""Time for the first process (s)."""

PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]")
"""How lists of other files start. FFmpeg, which may open none of them, tries it for seconds."""

MAX_REPORT = 4000
POLL_S = 0.05
LONGER = "too-long"

Samples = NDArray[np.float32]
log = logging.getLogger("ds2cli.serve")


def memory_file(name: str) -> IO[bytes]:
    """A file without a path: in memory on Linux, elsewhere in the folder of temporary files."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create(name), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


@dataclass
class DecodedAudio:
    """Samples of a recording, one channel at the network's rate, in a file without a name; `close` frees them.

    count: of the samples.  rate: theirs (Hz).  duration_s: of the recording.
    is_long: whether `ds2 transcribe` would divide the recording.
    """

    file: IO[bytes]
    count: int
    rate: int
    duration_s: float
    is_long: bool

    def blocks(self) -> Iterator[Samples]:
        """The samples in order (N_i,)."""
        for begin in range(0, self.count, BLOCK):
            size = 4 * min(BLOCK, self.count - begin)
            yield np.frombuffer(os.pread(self.file.fileno(), size, 4 * begin), np.float32)

    def close(self) -> None:
        """Free the memory. May be called twice."""
        self.file.close()


@dataclass(frozen=True)
class _Task:
    """name: of the recording in messages.  max_s: its longest duration.  chunk_s: is_long beyond.  deadline_s: left."""

    name: str
    rate: int
    max_s: float
    chunk_s: float
    deadline_s: float


class _Files:
    """Descriptors that a new process gets."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def __reduce__(self) -> Any:
        return _detach, tuple(map(reduction.DupFd, self.numbers))


def _detach(*numbers: Any) -> tuple[int, ...]:
    return tuple(number.detach() for number in numbers)


class Decoder:
    """Decodes recordings for one network; threads may share it."""

    def __init__(self, rate: int, max_s: float, chunk_s: float) -> None:
        """rate: of the network (Hz).  max_s: longest recording (s).  chunk_s: what is longer is divided (s)."""
        self.rate, self.max_s, self.chunk_s = rate, max_s, chunk_s
        self._context = multiprocessing.get_context("forkserver")
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the server of forks, so that the first recording need not wait. Ds2Error if that is impossible."""
        # what PyAV imports late could not be imported within the sandbox
        parts = [module.name for module in pkgutil.walk_packages(av.__path__, "av.")]
        self._context.set_forkserver_preload([__name__, *parts])
        process = self._context.Process(target=_do_nothing, daemon=True)
        self._start(process)
        process.join(START_S)
        if process.exitcode != 0:
            process.kill()
            raise Ds2Error("no process that decodes uploads can be started: is the system out of memory or processes?")

    def __call__(
        self, body: IO[bytes], size: int, suffix: str, deadline: float, check: Callable[[], None]
    ) -> DecodedAudio:
        """Decode the `size` bytes of a file.

        suffix: ending of its name, such as ".mp3", for formats that do not say what they are.
        deadline: as of time.monotonic.  check: called now and then; may raise, which ends the process.
        Refusal in words for what cannot be decoded.
        """
        name = f"the recording{suffix}"
        task = _Task(name, self.rate, self.max_s, self.chunk_s, deadline - time.monotonic())
        samples = memory_file("ds2-samples")
        try:
            report = self._run(body, size, samples, task, check)
            return self._read_report(report, samples)
        except BaseException:
            samples.close()
            raise

    def _run(
        self, body: IO[bytes], size: int, samples: IO[bytes], task: _Task, check: Callable[[], None]
    ) -> dict[str, Any]:
        reading, writing = os.pipe()
        try:
            files = _Files(body.fileno(), samples.fileno(), writing)
            process = self._context.Process(target=_decode, args=(files, size, task), daemon=True)
            try:
                self._start(process)
            except Ds2Error as e:
                log.error("an upload cannot be decoded: %s", e)
                raise internal_error() from e
            finally:
                os.close(writing)
            try:
                while not wait([process.sentinel], POLL_S):
                    check()
            except BaseException:
                process.kill()
                raise
            finally:
                with self._lock:
                    process.join()
            if process.exitcode:
                # its alarm may have come a moment before the deadline was noticed here
                check()
                raise _explain_end(process.exitcode)
            return _parse_report(os.read(reading, MAX_REPORT))
        finally:
            os.close(reading)

    def _start(self, process: BaseProcess) -> None:
        # starting a process also reaps those that have ended, which only one thread may do
        with self._lock:
            try:
                start_ignoring_signals([process])
            except (EOFError, ConnectionError) as e:
                raise Ds2Error(f"a process cannot be started: {explain_error(OSError(*e.args))}") from e

    def _read_report(self, report: dict[str, Any], samples: IO[bytes]) -> DecodedAudio:
        if "reason" in report:
            raise _refuse(str(report["reason"]), str(report.get("detail", "")))
        count, duration_s, is_long = report.get("count"), report.get("duration_s"), report.get("is_long")
        if (
            not (isinstance(count, int) and isinstance(duration_s, float) and isinstance(is_long, bool))
            or not 0 < duration_s < LONGEST_S
            or os.fstat(samples.fileno()).st_size != 4 * count
        ):
            log.error("the decoder of uploads reports %.200r", report)
            raise internal_error()
        return DecodedAudio(samples, count, self.rate, duration_s, is_long)


def _parse_report(data: bytes) -> dict[str, Any]:
    try:
        report = json.loads(data)
    except ValueError:
        report = None
    return report if isinstance(report, dict) else {}


def _refuse(reason: str, detail: str) -> Refusal:
    if reason == LONGER:
        return Refusal(LONGER, detail, 413, 1009)
    if reason == memory.OUT_OF_MEMORY:
        return Refusal("too-large", detail, 413, 1009)
    return bad_request("bad-audio", detail)


def _explain_end(status: int) -> Refusal:
    """Why a process ended without a report."""
    if status in (-signal.SIGXCPU, -signal.SIGALRM):
        return Refusal("too-long", "decoding the recording takes too long: convert it to WAV or FLAC", 413, 1009)
    if status == -signal.SIGKILL:
        return Refusal("too-large", f"the recording needs too much memory: {memory.SHORTER}", 413, 1009)
    if status < 0:
        return bad_request("bad-audio", "the decoder failed on this recording: convert it to WAV or FLAC")
    log.error("the decoder of uploads ended with status %d", status)
    return internal_error()


def _do_nothing() -> None:
    pass


def _decode(files: tuple[int, ...], size: int, task: _Task) -> None:
    """The work of a process: samples are written to the second file, a line about them to the third one."""
    body, samples, report = files
    line = json.dumps(_report(body, samples, size, task)).encode()[:MAX_REPORT]
    # a pipe buffers a line, even if nothing reads it
    with contextlib.suppress(BrokenPipeError):
        os.write(report, line)
    os._exit(0)


def _report(body: int, samples: int, size: int, task: _Task) -> dict[str, Any]:
    # playlists may refer to other files: none of those is opened
    codecs.OPEN_OPTIONS["options"] = {"protocol_whitelist": "none"}
    cpu_s = round(10 + task.max_s / MIN_SPEED)
    try:
        source = PipedAudio(task.name)
        enter(Limits(MEMORY + size, cpu_s, task.deadline_s, 4 * round((task.max_s + 1) * task.rate)))
        source.data = os.pread(body, size, 0)
        if source.data.startswith(PLAYLISTS):
            raise BadUtterance("not-audio", f"{task.name} is a playlist of other files, expected a recording")
        return _decode_to(samples, source, task)
    except BadUtterance as e:
        return {"reason": e.reason, "detail": e.detail[:500]}
    except Exception as e:
        if memory.is_out_of_memory(e):
            return {"reason": memory.OUT_OF_MEMORY, "detail": f"{task.name} needs too much memory ({memory.SHORTER})"}
        return {"reason": "unreadable-audio", "detail": f"{task.name} cannot be decoded ({type(e).__name__})"}


def _decode_to(file: int, source: PipedAudio, task: _Task) -> dict[str, Any]:
    """BadUtterance for a recording that cannot be read, or is too long."""
    is_long, read, written = lasts_longer(source, task.chunk_s), 0, 0
    with open_blocks(source) as blocks:

        def count() -> Iterator[Samples]:
            nonlocal read
            for block in blocks.samples:
                read += len(block)
                if read > task.max_s * blocks.rate:
                    raise BadUtterance(
                        LONGER, f"{task.name} lasts longer than {task.max_s:g} s, the limit of this server: divide it"
                    )
                yield block

        for block in resample_blocks(count(), blocks.rate, task.rate):
            data = memoryview(block.astype(np.float32, copy=False).data).cast("B")
            while data:
                sent = os.write(file, data)
                written, data = written + sent, data[sent:]
        return {"count": written // 4, "duration_s": round(read / blocks.rate, 6), "is_long": is_long}
