"""Transcribe one long recording, or a live stream, in memory that does not grow with its length.

It is decoded, and its features and emissions are computed, in blocks. The emission is divided at pauses into pieces
(search/pieces.py), each of which is decoded as an utterance of its own. The network and what leads to it run in one
thread, the search in others; results come in order. Notation: T frames or steps, F bins.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.audio.live import LiveAudio
from ds2cli.audio.stream import Blocks, open_blocks, resample_blocks
from ds2cli.audio.vad import find_speech, load_detector
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance
from ds2cli.feats.blocks import LIVE, LevelWindow, compute_blocks
from ds2cli.manifest import Row
from ds2cli.recognizer.chunks import CHUNK_S, CONTEXT_S, emit_in_chunks
from ds2cli.recognizer.emissions import PENDING_PER_THREAD, Emission
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.emission import check_emission
from ds2cli.search.pieces import Piece, PieceCutter
from ds2cli.stages.long_results import Results, Segment

LIVE_CHUNK_S, LIVE_CONTEXT_S = 1.0, 2.0
"""Audio that the network computes at once of a live stream, and the context of a bidirectional one (s): its delay."""

BAND_FRAMES = 100
"""One of this many frames is kept to find the bandwidth of the recording."""

Array = NDArray[np.float32]


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Listener:
    """What is called while recordings are transcribed.

    warn: gets each warning.  segment: gets the row and the fields of each segment that is final, of a live stream as
    soon as possible, of other recordings only `by_segment`.
    progress: gets the row, the audio transcribed so far and its whole duration (s; None if it is not known).
    """

    warn: Callable[[str], None]
    segment: Callable[[Row, Row], None] = _ignore
    progress: Callable[[Row, float, float | None], None] = _ignore
    by_segment: bool = False


class _Part(NamedTuple):
    """What the network has computed at once: the segments that ended, and up to where the recording was heard (s)."""

    segments: list[Segment]
    heard_s: float


@dataclass
class _Reading:
    """What is known of a recording while it is read.

    rate: its own sample rate (Hz).  samples: the number read.  frames: one of BAND_FRAMES of its features.
    silence: log-probability of the silence that is in no segment (nats).
    """

    rate: int
    samples: int = 0
    frames: list[Array] = field(default_factory=list)
    silence: float = 0.0

    def count(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Pass samples through."""
        for block in blocks:
            self.samples += len(block)
            yield block

    def sample(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Pass features through."""
        for block in blocks:
            self.frames.append(block[::BAND_FRAMES].copy())
            yield block

    @property
    def heard_s(self) -> float:
        """Duration of what was read (s)."""
        return self.samples / self.rate


@dataclass(frozen=True)
class LongTranscriber:
    """Transcribes long recordings one by one; `settings` of the features and `decode` are for all of them.

    channel: of recordings whose rows state none; None for the mean of all.
    decode: decodes an emission to a row with `pred_text`, ….  opener: opens the recording to be read in blocks.
    """

    config: TranscribeConfig
    channel: int | None
    settings: FeatureConfig
    experiment: Experiment
    decode: Callable[[Emission], Row]
    listener: Listener
    opener: Callable[[str, int | None], contextlib.AbstractContextManager[Blocks]] = open_blocks

    def __call__(self, row: Row) -> tuple[Row, int, Array]:
        """The row with its results (see `Results.join`), its sample rate (Hz), and some of its features (T, F).

        BadUtterance if the recording cannot be read to its end, or does not fit in memory.
        """
        source = row["audio_filepath"]
        is_live = isinstance(source, LiveAudio) and source.stated is None
        is_soon = is_live or self.listener.by_segment
        notify = partial(self.listener.segment, row) if is_soon else _ignore
        results = Results(source, self.config, self.listener.warn, notify)
        stop = threading.Event()
        pending: deque[tuple[Segment, Future[Row]]] = deque()
        with self.opener(source, row.get("channel", self.channel)) as blocks, contextlib.ExitStack() as stack:
            reading = _Reading(blocks.rate)
            parts = self._emit(blocks, reading, is_live, stop)
            stack.callback(parts.close)
            network, searches = ThreadPoolExecutor(1, "network"), ThreadPoolExecutor(self.config.nj, "search")
            for pool in (network, searches):
                stack.callback(pool.shutdown, cancel_futures=True)
            stack.callback(_end, stop, source)
            waiting = network.submit(next, parts, None)
            while (part := _result(waiting)) is not None:
                waiting = network.submit(next, parts, None)
                pending.extend((segment, searches.submit(self._search, segment)) for segment in part.segments)
                # what was said live is to be written now
                while pending and (is_soon or len(pending) > PENDING_PER_THREAD * self.config.nj):
                    results.add(*pending.popleft())
                self.listener.progress(row, part.heard_s, blocks.duration_s)
            while pending:
                results.add(*pending.popleft())
        fields = results.join(reading.silence)
        row = {**row, "duration": round(reading.heard_s, 6), **fields}
        return (
            row,
            reading.rate,
            np.concatenate([np.zeros((0, self.experiment.network.bins), np.float32), *reading.frames]),
        )

    def _search(self, segment: Segment) -> Row:
        item = Emission({}, segment.log_probs, self.experiment.network.step_s)
        what = f"the search over {len(segment.log_probs)} steps"
        return memory.fit_utterance(partial(self.decode, item), what, memory.SHORTER)

    def _emit(self, blocks: Blocks, reading: _Reading, is_live: bool, stop: threading.Event) -> Generator[_Part]:
        """The segments of a recording, as the network's output comes."""

        def check() -> None:
            if stop.is_set():
                raise CancelledError

        rate, step_s, vocab = self.settings.sample_rate, self.experiment.network.step_s, self.experiment.vocab
        samples = resample_blocks(reading.count(blocks.samples), blocks.rate, rate)
        spans = find_speech(samples, load_detector()) if self.config.vad == "silero" else iter([(0, samples)])
        for first, span in spans:
            cutter = PieceCutter(vocab, step_s)
            part = partial(_make_part, first / rate, step_s, reading)
            features = reading.sample(compute_blocks(span, self.settings, LIVE if is_live else LevelWindow()))
            emissions = emit_in_chunks(
                self.experiment,
                features,
                LIVE_CHUNK_S if is_live else CHUNK_S,
                LIVE_CONTEXT_S if is_live else CONTEXT_S,
                windows=1 if is_live else None,
                check=check,
            )
            try:
                for log_probs in emissions:
                    yield part(cutter.advance(check_emission(log_probs, vocab)))
            except BadUtterance as e:
                # a short part of a recording is no reason to drop it
                if self.config.vad != "silero" or e.reason != "too-short":
                    raise
            yield part(cutter.finish())
            reading.silence += cutter.silence


def _make_part(start_s: float, step_s: float, reading: _Reading, pieces: list[Piece]) -> _Part:
    """start_s: where the steps of the pieces begin to count (s)."""
    segments = [Segment(p.log_probs, *(start_s + step * step_s for step in (p.start, p.first, p.last))) for p in pieces]
    return _Part(segments, reading.heard_s)


def _result(waiting: Future[_Part | None]) -> _Part | None:
    """What the network's thread returns; BadUtterance if that does not fit in memory."""
    try:
        return waiting.result()
    except Exception as e:
        if isinstance(e, BadUtterance) or not memory.is_out_of_memory(e):
            raise
        lack = f"a part of the recording does not fit in memory: {memory.describe_lack(e)}"
        raise BadUtterance(memory.OUT_OF_MEMORY, lack) from e


def _end(stop: threading.Event, source: object) -> None:
    """Let the network's thread end, which may be waiting for a live stream."""
    stop.set()
    if isinstance(source, LiveAudio):
        source.abandoned.set()
