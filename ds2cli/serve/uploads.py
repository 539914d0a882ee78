"""Uploaded recordings: how many are transcribed at once, how many wait, for how long, and how they end early.

Threads of low priority do the work, so that live streams keep their latency. What is uploaded stays in memory, in files
without names: the bodies of all together take at most HELD_BODIES times the largest that is allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ds2cli.config.serve import ServeConfig
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.memory import OUT_OF_MEMORY
from ds2cli.recognizer.decoder import Search
from ds2cli.serve.decode import Decoder, memory_file
from ds2cli.serve.metrics import Metrics
from ds2cli.serve.recording import RecordingTranscriber
from ds2cli.serve.refusal import Refusal, bad_request, internal_error, overloaded, stopping, too_large
from ds2cli.serve.sandbox import PRIORITY

HELD_BODIES = 4
"""Bodies that are held at once have together at most this many times the size of the largest one allowed."""

FIELDS_BYTES = 1 << 18
"""What a request may have in addition to the recording (bytes)."""

R = TypeVar("R")
log = logging.getLogger("ds2cli.serve")


class Cancelled(Exception):
    """The work is not wanted any more."""


class Upload:
    """One request with a recording, from its first byte to its answer. Methods are called in the event loop."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self.file, self.size, self.suffix = memory_file("ds2-upload"), 0, ""
        self.deadline = time.monotonic() + uploads.config.upload_timeout
        self.is_working = False
        self._ended: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
        self._cancelled = threading.Event()

    @property
    def seconds_left(self) -> float:
        """Until its deadline (s)."""
        return self.deadline - time.monotonic()

    def write(self, data: bytes) -> None:
        """Keep the next bytes of the recording. Refusal if those of all uploads are too many."""
        try:
            self._uploads.hold(len(data))
        except Refusal:
            # freed at once, so that other uploads have room
            self.close()
            raise
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) :]

    def end(self, refusal: Refusal) -> None:
        """Stop all work on it: what waits for it gets this refusal. May be called twice."""
        self._cancelled.set()
        if not self._ended.done():
            self._ended.set_result(refusal)

    async def run(self, work: Coroutine[Any, Any, R]) -> R:
        """The result of `work`, unless the upload is ended before: then its Refusal."""
        task = asyncio.ensure_future(work)
        waited: set[asyncio.Future[Any]] = {task, self._ended}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        if task.cancelled():
            raise self._ended.result()
        return task.result()

    def check(self) -> None:
        """Called by working threads: Cancelled, or Refusal when the time is over."""
        if self._cancelled.is_set():
            raise Cancelled
        if self.seconds_left < 0:
            raise self.late()

    def late(self) -> Refusal:
        """The refusal when the time is over."""
        seconds = self._uploads.config.upload_timeout
        return Refusal("timeout", f"not transcribed within {seconds:g} s: send a shorter recording", 503, 1013)

    def close(self) -> None:
        """Free its memory, when no thread uses it any more. May be called twice."""
        if not self.file.closed:
            self.file.close()
            self._uploads.hold(-self.size)


class Uploads:
    """All uploads of a server."""

    def __init__(self, config: ServeConfig, transcriber: RecordingTranscriber, metrics: Metrics) -> None:
        """Ds2Error if no process that decodes can be started."""
        self.config, self.metrics = config, metrics
        self._transcribe = transcriber
        settings = transcriber.settings
        self._decode = Decoder(transcriber.features.sample_rate, config.max_upload, settings.chunk)
        self._decode.start()
        self._pool = ThreadPoolExecutor(config.max_uploads, "upload", initializer=_lower_priority)
        self._turns = asyncio.Semaphore(config.max_uploads)
        self._open: set[Upload] = set()
        self._waiting = self._held = 0
        self._is_stopping = False

    @property
    def is_busy(self) -> bool:
        """Whether there are uploads without an answer."""
        return bool(self._open)

    @property
    def max_bytes(self) -> int:
        """Largest recording (bytes)."""
        return round(self.config.max_upload_mb * 1e6)

    def check_size(self, size: int) -> None:
        """Refusal for the body of a request that has `size` bytes or more, if that is too large."""
        if size > self.max_bytes + FIELDS_BYTES:
            refusal = too_large(
                f"the recording has more than {self.config.max_upload_mb:g} MB, the limit of this server: "
                "compress it (FLAC, MP3, Opus) or divide it"
            )
            refusal.param = "file"
            raise refusal

    @contextlib.contextmanager
    def open(self) -> Iterator[Upload]:
        """A new upload, which is over with the block. Refusal if the server is full or being stopped."""
        if self._is_stopping:
            raise stopping()
        self._check_room()
        upload = Upload(self)
        self._open.add(upload)
        try:
            yield upload
            outcome = "done"
        except Refusal as e:
            outcome = e.code
            raise
        except BaseException:
            outcome = "cut"
            raise
        finally:
            self._open.discard(upload)
            upload.end(internal_error())
            self.metrics.uploads.labels(outcome).inc()
            if not upload.is_working:
                upload.close()

    def _check_room(self) -> None:
        if self._waiting >= self.config.max_waiting and self._turns.locked():
            raise overloaded(f"{self._waiting} recordings wait already: try again later")

    async def transcribe(
        self, upload: Upload, search: Callable[[], Search], notify: Callable[[str], None], finish: Callable[[Row], R]
    ) -> R:
        """The text of its recording. Refusal in words.

        search: makes or finds the search; may raise Refusal.  finish: makes the result of the row (see
        `RecordingTranscriber`), which may take some time: both are called in a thread.
        notify: gets each part of the text as soon as it is final, in the event loop.
        """
        received = time.monotonic()
        await self._take_turn(upload)
        loop = asyncio.get_running_loop()

        def call_soon(function: Callable[..., None], *args: Any) -> None:
            # the event loop may have ended before the work
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(function, *args)

        def work() -> tuple[float, R]:
            return self._work(upload, search, lambda part: call_soon(notify, part["pred_text"]), finish)

        upload.is_working = True
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: call_soon(self._end_turn, upload))
        work_done = asyncio.wrap_future(future)
        # when the client has left, the work ends with an exception that is not raised here
        work_done.add_done_callback(lambda done: done.cancelled() or done.exception())
        duration_s, result = await asyncio.shield(work_done)
        self.metrics.upload_seconds.observe(time.monotonic() - received)
        self.metrics.audio.labels("upload").inc(duration_s)
        return result

    def stop(self) -> None:
        """Accept no more uploads; those that are open continue."""
        self._is_stopping = True

    def end_all(self) -> None:
        """End those that are open: their clients get a refusal."""
        for upload in list(self._open):
            upload.end(stopping())

    def close(self) -> None:
        """End the threads."""
        for upload in list(self._open):
            upload._cancelled.set()
        self._pool.shutdown(cancel_futures=True)

    async def _take_turn(self, upload: Upload) -> None:
        self._check_room()
        self._count_waiting(1)
        try:
            async with asyncio.timeout(upload.seconds_left):
                await self._turns.acquire()
        except TimeoutError:
            raise upload.late() from None
        finally:
            self._count_waiting(-1)

    def _end_turn(self, upload: Upload) -> None:
        self._turns.release()
        upload.is_working = False
        if upload not in self._open:
            upload.close()

    def _count_waiting(self, change: int) -> None:
        self._waiting += change
        self.metrics.uploads_waiting.set(self._waiting)

    def hold(self, size: int) -> None:
        """Count bytes that are kept, or with a negative size no more. Refusal for more than may be."""
        if size > 0 and self._held + size > HELD_BODIES * (self.max_bytes + FIELDS_BYTES):
            raise overloaded("this server holds as many recordings as it has memory for: try again later")
        self._held += size

    def _work(
        self,
        upload: Upload,
        search: Callable[[], Search],
        notify: Callable[[Row], None],
        finish: Callable[[Row], R],
    ) -> tuple[float, R]:
        """Called by a thread of low priority. The duration of the recording (s), and what `finish` makes of its row."""
        try:
            upload.check()
            found = search()
            with contextlib.closing(
                self._decode(upload.file, upload.size, upload.suffix, upload.deadline, upload.check)
            ) as audio:
                upload.file.truncate(0)
                row = self._transcribe(audio, found, upload.check, notify)
            return audio.duration_s, finish(row)
        except (Refusal, Cancelled):
            raise
        except BadUtterance as e:
            raise (too_large if e.reason == OUT_OF_MEMORY else _bad_audio)(e.detail) from e
        except Exception as e:
            log.exception("an upload failed")
            raise Refusal("internal-error", "the server failed on this recording; its log says why", 500, 1011) from e


def _bad_audio(detail: str) -> Refusal:
    return bad_request("bad-audio", f"the recording cannot be transcribed: {detail}")


def _lower_priority() -> None:
    """That of this thread, and of those that it starts."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)
