"""Transcribe recordings, without a manifest or an archive."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterable, Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ds2cli import inputs
from ds2cli.audio import vad
from ds2cli.audio.find import find_audio
from ds2cli.audio.live import open_pipe
from ds2cli.audio.read import count_channels, parse_channel, read, split_channels
from ds2cli.audio.resample import resample
from ds2cli.audio.stream import lasts_longer
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.config.prepare import EACH
from ds2cli.corpora._ids import unique_ids
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.feats import kinds
from ds2cli.manifest import Row
from ds2cli.recognizer.bandwidth import describe_mismatch, find_band_mismatch
from ds2cli.recognizer.decoder import Search
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages.decode import make_decoder
from ds2cli.stages.decode import run as decode
from ds2cli.stages.long_recording import Listener, LongTranscriber

STDIN = "-"


def list_recordings(paths: Iterable[str], ledger: Ledger) -> list[Row]:
    """A row for each file, and for each recording below each folder, in order; `-` is standard input.

    What else is in a folder is dropped. DataError for a folder without audio files.
    """
    files: list[str] = []
    for path in paths:
        # Path.is_dir raises for a name that is too long
        if path == STDIN or not os.path.isdir(path):  # noqa: PTH112
            files.append(path)
            continue
        recordings, left = find_audio(path)
        files += [str(recording.path) for recording in recordings]
        for item in left:
            ledger.drop_error(str(item.path), item.error, bad=item.bad)
    ids = unique_ids(files, lambda path: "_".join(str(path).split()) or str(path))
    return [{"id": name, "audio_filepath": file} for name, file in zip(ids, files, strict=True)]


def split_by_channel(rows: Iterable[Row], ledger: Ledger) -> list[Row]:
    """A row per channel of each recording; those that cannot be read are dropped. UsageError for a stream."""
    split: list[Row] = []
    for row in rows:
        path = row["audio_filepath"]
        if is_live(path):
            raise UsageError(f"--channel each needs files, {path} is read only once (name a channel, such as 0)")
        try:
            split += split_channels(row, count_channels(path))
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
    return split


def run(
    config: TranscribeConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    search: Search,
    listener: Listener,
    ended: threading.Event | None = None,
) -> Generator[Row]:
    """Yield each row with `duration` (s), `pred_text`, `pred_score`; recordings that cannot be read are dropped.

    Those longer than `config.chunk`, and live streams, are divided (see `LongTranscriber`), and their rows have
    `segments`, too. listener: is warned of each recording that has another band than the training recordings, such
    as a file of 8 kHz.  ended: ends a live stream when it is set.
    DataError if the network was trained on features of other settings than it says. UsageError for settings that do
    not fit the network.
    """
    settings = FeatureConfig.from_saved(experiment.network.features, experiment.path)
    if (bins := kinds.num_bins(settings)) != experiment.network.bins:
        raise DataError(
            f"{experiment.path}: trained on features of {experiment.network.bins} bins, but with settings that give "
            f"{bins}: they cannot be computed (train with --features FILE)"
        )
    if config.vad == "silero":
        vad.load_detector()
        if settings.sample_rate != vad.RATE:
            raise UsageError(
                f"--vad silero needs a network for recordings of {vad.RATE} Hz, {experiment.path} is for "
                f"{settings.sample_rate} Hz"
            )
    channel = None if config.channel == EACH else parse_channel(config.channel, ", each")

    def check_band(row: Row, rate: int, features: NDArray[np.float32]) -> None:
        if bands := find_band_mismatch(features, experiment):
            listener.warn(f"{row['audio_filepath']}: {_band_warning(bands, rate, settings.sample_rate)}")

    def features(row: Row, _: Experiment) -> NDArray[np.float32]:
        samples, rate = read(row["audio_filepath"], channel=row.get("channel", channel))
        row["duration"] = round(len(samples) / rate, 6)
        features = kinds.compute(resample(samples, rate, settings.sample_rate), settings)
        check_band(row, rate, features)
        return features

    def is_long(row: Row) -> bool:
        return config.vad == "silero" or lasts_longer(row["audio_filepath"], config.chunk)

    transcribe_long = LongTranscriber(
        config, channel, settings, experiment, make_decoder(config, experiment, search), listener
    )
    for long, group in groupby(_open_pipes(rows, ledger, config.raw_rate, ended or threading.Event()), is_long):
        if not long:
            yield from decode(config, group, ledger, experiment, search, features)
            continue
        for row in group:
            try:
                result, rate, frames = transcribe_long(row)
            except BadUtterance as e:
                ledger.drop_error(row["id"], e)
                continue
            check_band(row, rate, frames)
            yield result


def is_live(path: str) -> bool:
    """Whether a recording comes through a pipe or standard input, whose end may not be known."""
    return path == STDIN or inputs.is_stream(path)


def _open_pipes(rows: Iterable[Row], ledger: Ledger, raw_rate: int | None, ended: threading.Event) -> Iterator[Row]:
    """Open what comes through pipes, before the rows are passed on to threads, whose waits no signal ends."""
    for row in rows:
        path = row["audio_filepath"]
        try:
            yield {**row, "audio_filepath": open_pipe(path, raw_rate, ended)} if is_live(path) else row
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)


def _band_warning(bands: tuple[float, float], rate: int, trained_rate: int) -> str:
    if bands[0] < bands[1] and rate < trained_rate:
        rates = f"This file is {rate / 1000:g} kHz; the training recordings were {trained_rate / 1000:g} kHz"
        return f"{rates}: expect many more errors."
    return describe_mismatch(*bands)
