"""Transcribe a recording while it is made: partial and final results as soon as the network has heard enough."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.live import LiveAudio, open_pipe
from ds2cli.audio.read import parse_channel
from ds2cli.audio.source import source_name
from ds2cli.audio.stream import open_blocks
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.feats import kinds
from ds2cli.feats.bandwidth import FULL, learned_bandwidth
from ds2cli.manifest import Row
from ds2cli.recognizer.decoder import Search
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.stream import EmissionStream, RecognizerStream
from ds2cli.recognizer.utterances import Result, UtteranceStream
from ds2cli.search.endpoint import EndpointRules
from ds2cli.stages.transcribe import is_live
from ds2cli.text.spacing import join_texts

CHUNK_S = 0.1
"""Audio after which a partial result is shown, unless the settings say otherwise (s)."""


def run(
    config: TranscribeConfig,
    row: Row,
    experiment: Experiment,
    search: Search,
    warn: Callable[[str], None],
    ended: threading.Event | None = None,
) -> Generator[Result]:
    """Yield the results of one recording, and add `duration` (s), `pred_text`, `segments` and `pred_words` to its row.

    The fields are those of a long recording in stages/transcribe.py; `pred_words` are there with timestamps.
    config: resolved settings.  ended: ends a stream when it is set.
    BadUtterance if the recording cannot be read. UsageError if the network cannot be used for streams.
    """
    settings = FeatureConfig.from_saved(experiment.network.features, experiment.path)
    path, rate = row["audio_filepath"], settings.sample_rate
    if experiment.runtime is not None and not experiment.runtime.can_stream:
        raise UsageError(
            f"{experiment.path}: --live needs a forward-only network, this one hears a recording to its end first "
            "(without --live, a stream is transcribed segment by segment)"
        )
    source = path
    if is_live(path):
        source = open_pipe(path, config.raw_rate, ended or threading.Event(), live_rate=rate)
        if isinstance(source, LiveAudio) and config.raw_rate is None and source.raw_rate is not None:
            warn(
                f"{source.name} has no header: taken as 16-bit mono samples of {rate} Hz (--raw-rate for another rate)"
            )
    finals: list[Result] = []
    with open_blocks(source, parse_channel(config.channel)) as blocks:
        if problem := describe_rate(blocks.rate, experiment, settings):
            warn(f"{source_name(source)}: {problem}")
        emissions = EmissionStream(experiment, blocks.rate)
        rules = EndpointRules.from_config(config)
        utterances = UtteranceStream(config, search, experiment.vocab, experiment.network.step_s, rules)
        stream, heard = RecognizerStream(emissions, utterances), 0
        for samples in _divide(blocks.samples, max(round((config.partials or CHUNK_S) * blocks.rate), 1)):
            heard += len(samples)
            yield from _collect(stream.advance(samples), finals, warn)
        yield from _collect(stream.finish(), finals, warn)
        if not kinds.num_frames(round(heard * rate / blocks.rate), settings):
            raise BadUtterance("too-short", f"{heard} samples of {blocks.rate} Hz, shorter than one window")
        row |= {"duration": round(heard / blocks.rate, 6), **join(finals)}


def describe_rate(rate: int, experiment: Experiment, settings: FeatureConfig) -> str | None:
    """A warning if a stream of a sample rate (Hz) is without the upper band of the training recordings, or None."""
    mean, std = (experiment.network.tensors[statistic] for statistic in ("mean", "std"))
    learned = learned_bandwidth(mean, std, settings) or settings.sample_rate / 2
    if rate / 2 >= FULL * learned:
        return None
    return (
        f"this stream is {rate / 1000:g} kHz; the training recordings were {settings.sample_rate / 1000:g} kHz: "
        "expect many more errors."
    )


def join(finals: Iterable[Result]) -> Row:
    """The fields of a row from the final results of a recording: `pred_text`, `segments`, `pred_words` if there are."""
    segments: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    has_words = False
    for result in finals:
        segment = {"start": result.start_s, "end": result.end_s, "text": result.text}
        segments.append({**segment, **({} if result.confidence is None else {"conf": result.confidence})})
        has_words |= result.words is not None
        words += result.words or []
    row: Row = {"pred_text": join_texts(segment["text"] for segment in segments), "segments": segments}
    return {**row, "pred_words": words} if has_words else row


def _collect(results: Iterable[Result], finals: list[Result], warn: Callable[[str], None]) -> Iterator[Result]:
    for result in results:
        if result.reason == "impossible":
            warn(f"nothing that may be written fits what was heard up to {result.end_s:g} s (see --lexicon, --closed)")
        if result.final and result.text:
            finals.append(result)
        yield result


def _divide(blocks: Iterable[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """Blocks (N_i,) in pieces of at most this many samples: what has arrived is passed on at once."""
    for block in blocks:
        for begin in range(0, len(block), size):
            yield block[begin : begin + size]
