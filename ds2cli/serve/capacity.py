"""How many live streams this machine can serve, measured with the network and the search as they are.

The measurement is also the warm-up: the kernels are loaded (or compiled), and the buffers of resampling and of word
times exist, before the first client waits for them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ds2cli.experiment_files import CLIP, is_bundle, open_files
from ds2cli.recognizer.bundle import decode_clip
from ds2cli.serve.delivery import Delivery
from ds2cli.serve.dispatch import DispatchedStream, Dispatcher
from ds2cli.serve.service import Service, StreamOptions

CLIP_S = 4.0
"""Length of the sound that is recognized (s)."""

PIECE_S = 0.1
"""Audio per message of a stream (s), as clients send it."""

MEASURE_S = 1.0
"""About how long the measurement takes (s)."""

MOST_STREAMS = 32

SHARE = 0.4
"""Share of the measured capacity that streams may use: connections, uploads and local clients need the rest."""

OTHER_RATE = 48_000
"""Sample rate of the streams of the warm-up that are resampled, as those of browsers are (Hz)."""


def prepare(service: Service, report: Callable[[str], None]) -> None:
    """Warm up, and measure how many streams this machine can do: the limit, unless the settings have one.

    report: gets a line with the result.
    """
    samples = find_clip(service)
    dispatcher = Dispatcher(service.config.max_batch, service.settings.nj)
    try:
        rate = service.features.sample_rate
        # the first run compiles and loads: only the second one is timed
        _warm_search(service)
        _recognize(service, dispatcher, samples, rate, 1)
        alone_s = _recognize(service, dispatcher, samples, rate, 1)
        if rate != OTHER_RATE:
            _recognize(service, dispatcher, samples, OTHER_RATE, 1)
        if not service.config.max_streams:
            streams = min(max(round(service.settings.nj * MEASURE_S / alone_s), 1), MOST_STREAMS)
            seconds = _recognize(service, dispatcher, samples, rate, streams)
            factor = streams * len(samples) / rate / seconds
            service.limit = max(math.floor(SHARE * factor), 1)
            speed = f"this machine recognizes {factor:.0f} s of audio per second"
            report(f"{speed}: up to {service.limit} streams (--max-streams)")
    finally:
        dispatcher.close()
    service.metrics.capacity.set(service.limit)


def find_clip(service: Service) -> NDArray[np.float32]:
    """Samples (N,) of CLIP_S: the beginning of the recording in the bundle, else of a sound like speech."""
    rate = service.features.sample_rate
    if is_bundle(service.exp) and (data := open_files(service.exp).read(CLIP)):
        return decode_clip(data, rate)[: round(CLIP_S * rate)]
    return make_sound(rate)


def make_sound(rate: int) -> NDArray[np.float32]:
    """A sound of CLIP_S (N,): five syllables a second of a hum, and of noise, with pauses; always the same."""
    random = np.random.default_rng(0)
    seconds = np.arange(round(CLIP_S * rate)) / rate
    pitch_hz = 120 + 30 * np.sin(2 * np.pi * 0.7 * seconds)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate
    hum = sum(np.sin(k * phase) / k for k in range(1, 16))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * seconds), 0, None) ** 0.5
    words = np.sin(2 * np.pi * 0.8 * seconds) > -0.7
    voiced = np.sin(2 * np.pi * 1.3 * seconds) > -0.5
    sound = words * syllables * np.where(voiced, hum, random.normal(size=len(seconds)))
    return np.asarray(0.1 * sound + 1e-3 * random.normal(size=len(seconds)), np.float32)


def _warm_search(service: Service) -> None:
    """Search an emission that has a text for sure, which the clip need not have: the times of its words are found."""
    symbols = np.random.default_rng(0).integers(1, len(service.experiment.vocab), 20)
    # each symbol, and a blank after it
    labels = np.stack([symbols, np.zeros_like(symbols)], axis=1).ravel()
    log_probs = np.full((len(labels), len(service.experiment.vocab)), -12.0, np.float32)
    log_probs[np.arange(len(labels)), labels] = -0.001
    _, utterances = service.make_stream(StreamOptions(service.features.sample_rate))
    utterances.advance(log_probs, end=True)
    utterances.finish()


def _recognize(
    service: Service, dispatcher: Dispatcher, samples: NDArray[np.float32], rate: int, streams: int
) -> float:
    """Recognize samples (N,), taken as ones of `rate`, on several streams at once; returns how long it took (s)."""
    start = time.perf_counter()
    senders = [_Sender(service, dispatcher, samples, rate) for _ in range(streams)]
    for sender in senders:
        sender.send()
        sender.send()
    for sender in senders:
        sender.ended.wait()
        if sender.error is not None:
            raise sender.error
    return time.perf_counter() - start


class _Sender:
    """A stream that sends its next piece when the one before the last has been recognized: as full as a live one."""

    def __init__(self, service: Service, dispatcher: Dispatcher, samples: NDArray[np.float32], rate: int) -> None:
        size = round(PIECE_S * rate)
        self.pieces = [samples[begin : begin + size] for begin in range(0, len(samples), size)]
        self.ended = threading.Event()
        self.error: Exception | None = None
        self._lock = threading.Lock()
        emissions, utterances = service.make_stream(StreamOptions(rate))
        self.stream: DispatchedStream = dispatcher.open(emissions, utterances, rate, self._take)

    def send(self) -> None:
        """Send the next piece, or the end."""
        with self._lock:
            if self.pieces:
                self.stream.advance(self.pieces.pop(0))
            else:
                self.stream.finish()

    def _take(self, delivery: Delivery) -> None:
        if delivery.ended:
            self.error = delivery.error
            self.ended.set()
        else:
            self.send()
