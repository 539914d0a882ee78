"""What the server measures of itself, for Prometheus (`/metrics`) and for `ds2 bench serve`."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

DELAYS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10)
"""Bounds of the histograms of delays (s)."""


class Metrics:
    """The counters of one server. Those of the dispatcher are updated by its threads (`dispatch.Observer`)."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.connections = Gauge("ds2_connections", "Open connections", registry=registry)
        self.streams = Gauge("ds2_streams", "Open live streams", registry=registry)
        self.capacity = Gauge("ds2_streams_limit", "Live streams that are accepted at once", registry=registry)
        # a counter, as those of Prometheus cannot be read from elsewhere
        cpu = Gauge("ds2_process_cpu_seconds", "CPU time of this process (s)", registry=registry)
        cpu.set_function(time.process_time)
        self.ready = Gauge("ds2_ready", "1 while new streams and uploads are accepted", registry=registry)
        self.streams_ended = Counter(
            "ds2_streams_ended", "Live streams that have ended", ("protocol", "outcome"), registry=registry
        )
        self.refused = Counter("ds2_refused", "Requests and streams that were refused", ("code",), registry=registry)
        self.audio = Counter("ds2_audio_seconds", "Audio recognized (s)", ("kind",), registry=registry)
        self.uploads = Counter("ds2_uploads", "Uploaded recordings", ("outcome",), registry=registry)
        self.uploads_waiting = Gauge("ds2_uploads_waiting", "Uploads that wait for their turn", registry=registry)
        self.upload_seconds = Histogram(
            "ds2_upload_seconds", "From the end of an upload to its text (s)", registry=registry,
            buckets=(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500),
        )  # fmt: skip
        self.batch_streams = Histogram(
            "ds2_batch_streams", "Streams in a batch of the network", registry=registry,
            buckets=(*range(1, 11), 12, 16, 20, 24, 32, 48, 64),
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "ds2_batch_seconds", "Time of a batch (s)", registry=registry, buckets=(0.001, 0.002, *DELAYS)
        )
        self.result_seconds = Histogram(
            "ds2_result_seconds", "From the arrival of audio to its results (s)", registry=registry, buckets=DELAYS
        )
        self.final_seconds = Histogram(
            "ds2_final_seconds", "From the end of a stream to its last result (s)", registry=registry, buckets=DELAYS
        )

    def batch(self, streams: int, audio_s: float, seconds: float) -> None:
        """See `dispatch.Observer`."""
        self.batch_streams.observe(streams)
        self.batch_seconds.observe(seconds)
        self.audio.labels("stream").inc(audio_s)

    def searched(self, seconds: float) -> None:
        """See `dispatch.Observer`."""
        self.result_seconds.observe(seconds)

    def expose(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
