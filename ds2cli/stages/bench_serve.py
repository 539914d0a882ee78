"""Load a server with recordings, and measure how fast their texts come, and what they cost it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ds2cli import manifest
from ds2cli.audio.recording import parse_recording, read_samples
from ds2cli.config.bench import BenchServeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.inputs import explain_error
from ds2cli.stages.bench_server import compare_metrics, read_metrics, start_server
from ds2cli.stages.bench_streams import Clip, StreamLoad
from ds2cli.stages.bench_uploads import UploadLoad
from ds2cli.stages.transcribe import list_recordings

PAUSE_S = 0.5
"""Silence between recordings that are joined (s): not enough to end an utterance by."""

PHASE_S = 3.0
"""All streams begin within this time (s), or within a fifth of a short run."""

TICK_S = 0.25

Measurement = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """How far a run is: `done_s` of `total_s` seconds, `ended` recordings so far."""

    label: str
    done_s: float
    total_s: float
    ended: int


@dataclass(frozen=True)
class _Run:
    """One run: `count` streams, or uploads at once."""

    config: BenchServeConfig
    url: str
    max_batch: int | None
    count: int
    headers: Mapping[str, str]

    @property
    def kind(self) -> str:
        return "uploads" if self.config.requests else "fast" if self.config.fast else "real time"


def run(
    config: BenchServeConfig, target: str, recordings: Sequence[str], ledger: Ledger, ended: threading.Event
) -> Generator[Progress | Measurement]:
    """Yield how far it is, and a measurement at the end of each run (`Tally.summarize`, `compare_metrics`).

    target: the URL of a server, or an experiment for which servers are started.  recordings: manifests (.jsonl), audio
    files or folders.  ended: ends the run when it is set, with what was measured.
    UsageError for settings that do not fit; DataError without recordings, or if the server does not answer.
    """
    counts = [config.requests] if config.requests else parse_numbers(config.streams, "--streams")
    headers = _authorization(config.token_file)
    clips = read_clips(recordings, config.rate, config.min_length, ledger)
    for max_batch in [None] if is_url(target) else parse_numbers(config.max_batch, "--max-batch"):
        if max_batch is None:
            server = nullcontext(_http_url(target))
        else:
            server = start_server(target, _server_options(config, max_batch, max(counts)))  # type: ignore[assignment]
        with server as url:
            for count in counts:
                if not ended.is_set():
                    with closing(_measure(_Run(config, url, max_batch, count, headers), clips, ended)) as events:
                        yield from events


def _measure(run: _Run, clips: Sequence[Clip], ended: threading.Event) -> Generator[Progress | Measurement]:
    config = run.config
    load: StreamLoad | UploadLoad
    if config.requests:
        load = UploadLoad(run.url, clips, seed=config.seed, headers=run.headers)
    else:
        load = StreamLoad(
            "ws" + run.url.removeprefix("http"), clips, config.piece,
            seed=config.seed, fast=config.fast, partials=config.partials, headers=run.headers,
        )  # fmt: skip
    read_metrics(run.url, run.headers)
    load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    loop = asyncio.new_event_loop()
    try:
        phase_s = min(PHASE_S, config.seconds / 5)
        tasks = [loop.create_task(load.run(i, phase_s)) for i in range(run.count)]
        label = f"{run.count} {'uploads' if config.requests else 'streams'}" + (
            "" if run.max_batch is None else f", batches of {run.max_batch}"
        )
        loop.run_until_complete(asyncio.sleep(phase_s))
        load.tally.restart()
        began, cpu_s = time.perf_counter(), time.process_time()
        before = loop.run_until_complete(asyncio.to_thread(read_metrics, run.url, run.headers))
        done_s = 0.0
        while done_s < config.seconds and not ended.is_set():
            loop.run_until_complete(asyncio.sleep(min(TICK_S, config.seconds - done_s)))
            done_s = time.perf_counter() - began
            for task in tasks:
                if task.done():
                    task.result()
            yield Progress(label, min(done_s, config.seconds), config.seconds, len(load.tally.finals))
        after = loop.run_until_complete(asyncio.to_thread(read_metrics, run.url, run.headers))
        seconds = time.perf_counter() - began
        measured = {**load.tally.summarize(), **compare_metrics(before, after, seconds)}
        generator_cpu = round(time.process_time() - cpu_s, 2)
    finally:
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    yield {
        "kind": run.kind, "max_batch": run.max_batch, "streams": run.count, "seconds": round(seconds, 2),
        **measured, "generator_cpu_s": generator_cpu, "load_average": round(load_average, 2),
    }  # fmt: skip


def parse_numbers(text: str, option: str) -> list[int]:
    """The numbers of a list such as `10,20,30`. UsageError if it is none."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 10_000 for part in parts):
        raise UsageError(f"{option} {text}: expected numbers from 1 to 10000, such as 10,20,30")
    return [int(part) for part in parts]


def is_url(target: str) -> bool:
    """Whether it names a running server, not an experiment."""
    return target.startswith(("http://", "https://", "ws://", "wss://"))


def _http_url(url: str) -> str:
    scheme, _, rest = url.rstrip("/").partition("://")
    return f"{scheme.replace('ws', 'http', 1) if scheme.startswith('ws') else scheme}://{rest}"


def _server_options(config: BenchServeConfig, max_batch: int, streams: int) -> list[str]:
    options = ["--max-batch", str(max_batch), "--max-streams", str(config.limit or streams), "--max-requests", "0"]
    if config.requests:
        options += ["--max-uploads", str(config.requests)]
    if config.fast:
        # streams that do not wait are behind, which is not why to refuse them here
        options += ["--max-delay", "60"]
    return options + (["--config", config.server_config] if config.server_config else [])


def _authorization(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        token = Path(path).read_text("utf-8").partition("\n")[0].strip()
    except OSError as e:
        raise UsageError(f"--token-file {path}: {explain_error(e)}") from e
    except ValueError as e:
        raise UsageError(f"--token-file {path}: expected a token in letters and digits") from e
    return {"Authorization": f"Bearer {token}"}


def read_clips(recordings: Sequence[str], rate: int, min_length_s: float, ledger: Ledger) -> list[Clip]:
    """The recordings at `rate` Hz, shorter ones joined. DataError if there is none that can be read."""
    clips: list[Clip] = []
    names: list[str] = []
    parts: list[bytes] = []
    pause = bytes(2 * round(PAUSE_S * rate))

    def add() -> None:
        clips.append(Clip("+".join(names), pause.join(parts), rate))
        names.clear()
        parts.clear()

    for row in _list_rows(recordings, ledger):
        try:
            recording = parse_recording(row)
            if recording is None:
                raise BadUtterance("no-audio", "the row has no audio_filepath")
            samples = read_samples(recording, rate)
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        names.append(row["id"])
        parts.append(np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes())
        if sum(map(len, parts)) >= 2 * rate * min_length_s:
            add()
    if names and not clips:
        add()
    if not clips:
        raise DataError(f"{', '.join(recordings)}: no recordings that can be read")
    return clips


def _list_rows(recordings: Sequence[str], ledger: Ledger) -> Iterator[Mapping[str, Any]]:
    for name in recordings:
        if name.endswith(".jsonl") or name == "-":
            yield from manifest.read(name, ("id", "audio_filepath"), ledger)
        else:
            yield from list_recordings([name], ledger)
