"""From recordings to rows with text: no manifest, no archive."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.read import channel_number, find, read
from ds2cli.audio.resample import resample
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.feats.spectrogram import log_power
from ds2cli.io import standard_in
from ds2cli.manifest import Row
from ds2cli.recognizer.decoder import Search
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages.decode import run as decode

STDIN = "-"


def rows_of(paths: Iterable[str]) -> Iterator[Row]:
    """A row for each file, and for each audio file below a folder, in the order given; `-` is standard input.

    DataError for a folder without audio.
    """
    for path in paths:
        if path != STDIN and Path(path).is_dir():
            files = [str(p) for p in find(path)]
            if not files:
                raise DataError(f"{path}: no audio file in this folder")
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
    narrow: Callable[[str, int, int], None],
) -> Generator[Row]:
    """Yield each row with `duration`, `pred_text` and `pred_score`; a recording that cannot be read is dropped.

    narrow: called with the name, its rate and the network's (Hz) for a recording that lacks the higher frequencies.
    """
    settings = SpectrogramConfig(**experiment.trained.features)
    channel = channel_number(config.channel)

    def features(row: Row, _: Experiment) -> NDArray[np.float32]:
        source = standard_in().buffer.read() if row["audio_filepath"] == STDIN else row["audio_filepath"]
        samples, rate = read(source, channel=channel)
        row["duration"] = round(len(samples) / rate, 6)
        if rate < settings.sample_rate:
            narrow(row["audio_filepath"], rate, settings.sample_rate)
        return log_power(resample(samples, rate, settings.sample_rate), settings)

    return decode(config, rows, ledger, experiment, search, features)
