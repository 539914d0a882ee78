"""Transcribe recordings, without a manifest or an archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ds2cli import inputs
from ds2cli.audio.find import find_audio
from ds2cli.audio.read import parse_channel, read
from ds2cli.audio.resample import resample
from ds2cli.audio.source import read_pipe
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.corpora._ids import unique_ids
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.feats import kinds
from ds2cli.manifest import Row
from ds2cli.recognizer.bandwidth import describe_mismatch, find_band_mismatch
from ds2cli.recognizer.decoder import Search
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages.decode import run as decode

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


def run(
    config: TranscribeConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    search: Search,
    warn: Callable[[str], None],
) -> Generator[Row]:
    """Yield each row with `duration` (s), `pred_text` and `pred_score`; recordings that cannot be read are dropped.

    warn: called for each recording that has another band than the training recordings, such as a file of 8 kHz.
    DataError if the network was trained on features of other settings than it says.
    """
    settings = FeatureConfig.from_saved(experiment.trained.features, experiment.path)
    if (bins := kinds.num_bins(settings)) != experiment.trained.bins:
        raise DataError(
            f"{experiment.path}: trained on features of {experiment.trained.bins} bins, but with settings that give "
            f"{bins}: they cannot be computed (train with --features FILE)"
        )
    channel = parse_channel(config.channel)

    def features(row: Row, _: Experiment) -> NDArray[np.float32]:
        samples, rate = read(row["audio_filepath"], channel=channel)
        row["duration"] = round(len(samples) / rate, 6)
        features = kinds.compute(resample(samples, rate, settings.sample_rate), settings)
        if bands := find_band_mismatch(features, experiment):
            warn(f"{row['audio_filepath']}: {_band_warning(bands, rate, settings.sample_rate)}")
        return features

    return decode(config, _read_pipes(rows, ledger), ledger, experiment, search, features)


def _read_pipes(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
    """Read what comes through pipes, before the rows are passed on to threads, whose waits no signal ends."""
    for row in rows:
        path = row["audio_filepath"]
        try:
            yield {**row, "audio_filepath": read_pipe(path)} if path == STDIN or inputs.is_stream(path) else row
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)


def _band_warning(bands: tuple[float, float], rate: int, trained_rate: int) -> str:
    if bands[0] < bands[1] and rate < trained_rate:
        rates = f"This file is {rate / 1000:g} kHz; the training recordings were {trained_rate / 1000:g} kHz"
        return f"{rates}: expect many more errors."
    return describe_mismatch(*bands)
