"""Settings of `ds2 bench …`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class BenchServeConfig(Config):
    """Settings of `ds2 bench serve`."""

    no_effect: ClassVar = {
        "fast": ("requests", tuple(range(1, 1025))),
        "piece": ("requests", tuple(range(1, 1025))),
        "partials": ("requests", tuple(range(1, 1025))),
    }

    streams: str = setting("20", help="Live streams at once; with several numbers, such as 10,20,30, one run for each.")
    seconds: float = setting(60.0, help="Length of each run, once all streams have started (s).", min=0.5)
    piece: float = setting(0.1, help="Audio in each message (s).", min=0.01, max=10)
    fast: bool = setting(False, help="Send as fast as the server reads, to measure the throughput.")
    requests: int = setting(0, help="Upload this many recordings at once, instead of streaming.", min=0, max=1024)
    min_length: float = setting(
        5.0, help="Join shorter recordings to at least this length, with half a second between them (s).", min=0
    )
    rate: int = setting(16000, help="Sample rate of what is sent (Hz).", min=4000, max=192_000)
    partials: bool = setting(True, help="Ask for partial texts.")
    max_batch: str = setting(
        "1,32", help="With EXP: --max-batch of the server; with several numbers, one server for each."
    )
    limit: int | None = setting(
        None, help="With EXP: --max-streams of the server [default: the largest of --streams].", min=1
    )
    server_config: str | None = setting(None, help="With EXP: TOML file of further settings of ds2 serve.")
    token_file: str | None = setting(None, help="File whose first line is a token of the server.")
    seed: int = setting(0, help="Seed of the order of recordings and of the start times of streams.", min=0)
    json: bool = setting(False, help="Print one JSON object per run instead of the table.")
    plot: str | None = setting(
        None, help="PNG of batch sizes and latencies, like the paper's figures 5 and 6 (needs matplotlib)."
    )
