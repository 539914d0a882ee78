"""Transcribe recordings, without a manifest or an archive."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.read import find_audio, parse_channel, read
from ds2cli.audio.resample import resample
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.feats import kinds
from ds2cli.io import standard_input
from ds2cli.manifest import Row
from ds2cli.recognizer.decoder import Search
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages.decode import run as decode

STDIN = "-"


def list_recordings(paths: Iterable[str]) -> Iterator[Row]:
    """Yield a row for each file, and for each audio file below each folder, in order; `-` is standard input.

    DataError for a folder without audio files.
    """
    for path in paths:
        if path != STDIN and Path(path).is_dir():
            files = [str(p) for p in find_audio(path)]
            if not files:
                raise DataError(f"{path}: no audio files in this folder")
        else:
            files = [path]
        for file in files:
            yield {"id": "_".join(file.split()) or file, "audio_filepath": file}


def run(
    config: TranscribeConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    search: Search,
    warn: Callable[[str], None],
) -> Generator[Row]:
    """Yield each row with `duration` (s), `pred_text` and `pred_score`; recordings that cannot be read are dropped.

    warn: called for each recording with a lower sample rate than the training recordings.
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
        source = standard_input().buffer.read() if row["audio_filepath"] == STDIN else row["audio_filepath"]
        samples, rate = read(source, channel=channel)
        row["duration"] = round(len(samples) / rate, 6)
        if rate < settings.sample_rate:
            warn(f"{row['audio_filepath']}: {_narrow_band_warning(rate, settings.sample_rate)}")
        return kinds.compute(resample(samples, rate, settings.sample_rate), settings)

    return decode(config, rows, ledger, experiment, search, features)


def _narrow_band_warning(rate: int, trained_rate: int) -> str:
    rates = f"This file is {rate / 1000:g} kHz; the training recordings were {trained_rate / 1000:g} kHz"
    return f"{rates}: expect many more errors."
